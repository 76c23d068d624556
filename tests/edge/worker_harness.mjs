// Runs the worker whose file is the argument on the task from standard input:
// `checks` through its function, `requests` through its entry point, with a stand-in for the origin.
import { readFileSync } from 'node:fs'
import { webcrypto } from 'node:crypto'
import { pathToFileURL } from 'node:url'

globalThis.crypto ??= webcrypto

const { default: worker, check } = await import(pathToFileURL(process.argv[2]).href)
const { keyFile, checks, requests } = JSON.parse(readFileSync(0, 'utf8'))

if (checks) {
  const statuses = []
  for (const { url, now } of checks) statuses.push(await check(url, keyFile, now))
  console.log(JSON.stringify(statuses))
} else {
  const fetched = []
  globalThis.fetch = async ({ url, method, headers }) => {
    fetched.push({ url, method, range: headers.get('range') })
    return new Response('ab', { status: 206 })
  }
  const statuses = []
  for (const url of requests) {
    const request = new Request(url, { headers: { Range: 'bytes=0-1' } })
    statuses.push((await worker.fetch(request, { SIGNING_KEYS: keyFile })).status)
  }
  console.log(JSON.stringify({ statuses, fetched }))
}
