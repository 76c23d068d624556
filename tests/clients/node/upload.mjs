// Upload a file with tus-js-client and print what happens, one JSON object a line.
//
// The only argument is JSON:
//   endpoint, file
//   input       "buffer" (default) or "stream"
//   options     options of tus-js-client
//   hold        {after, then}: when so many bytes have been written to the network it takes no more from that
//               connection, and the upload is left to "wait", is told to "abort" and resumed by a new one, or is
//               told to "terminate"

import { createReadStream, readFileSync } from 'node:fs'
import { Agent } from 'node:http'
import { connect } from 'node:net'
import { PassThrough } from 'node:stream'
import { DefaultHttpStack, Upload } from 'tus-js-client'

const task = JSON.parse(process.argv[2])

function say(event, fields) {
  process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`)
}

// Connections that count the bytes written, and hold one back once enough have been.
class CountingAgent extends Agent {
  written = 0
  held = task.hold === undefined

  createConnection(options) {
    const socket = connect(options)
    for (const name of ['_write', '_writev']) {
      const write = socket[name]
      socket[name] = (...parts) => {
        if (!this.held && this.written >= task.hold.after) {
          this.held = true
          setImmediate(holds[task.hold.then])
          return
        }
        write.apply(socket, parts)
        this.written += sizeOf(parts[0])
      }
    }
    return socket
  }
}

function sizeOf(data) {
  return Array.isArray(data) ? data.reduce((sum, { chunk }) => sum + chunk.length, 0) : data.length
}

const agent = new CountingAgent({ keepAlive: true })

const options = {
  endpoint: task.endpoint,
  httpStack: new DefaultHttpStack({ agent }),
  metadata: { filename: 'größe 1.bin' },
  ...task.options,
  onAfterResponse(request, response) {
    const offset = response.getHeader('Upload-Offset')
    say('answer', {
      method: request.getMethod(),
      status: response.getStatus(),
      offset: offset === undefined ? null : Number(offset),
    })
  },
  onError(error) {
    say('error', { message: String(error) })
    process.exit(1)
  },
}

const input =
  task.input === 'stream' ? createReadStream(task.file).pipe(new PassThrough()) : readFileSync(task.file)

function upload(more) {
  const one = new Upload(input, {
    ...options,
    ...more,
    onSuccess() {
      say('success', { url: one.url, written: agent.written })
      agent.destroy()
    },
  })
  one.start()
  return one
}

const holds = {
  wait() {
    say('held', { url: first.url })
  },
  async abort() {
    await first.abort()
    say('aborted', { url: first.url })
    upload({ uploadUrl: first.url })
  },
  async terminate() {
    await first.abort(true)
    say('terminated', { url: first.url })
    agent.destroy()
  },
}

const first = upload({})
