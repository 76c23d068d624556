// node server.mjs PORT DIR [SECONDS]: @tus/server, the Node server of the tus project, on http://127.0.0.1:PORT/files/
// Unfinished uploads expire after so many seconds, or five; 0: never.
import { FileStore } from '@tus/file-store'
import { Server } from '@tus/server'

// Node 20 throws this, out of reach of any server, when the stream of a request's body is cancelled as it ends;
// uncaught it would be the death of the process.
process.on('uncaughtException', (error) => {
  if (error.code !== 'ERR_INVALID_STATE') throw error
})

const [port, directory, expiry = '5'] = process.argv.slice(2)
const datastore = new FileStore({ directory, expirationPeriodInMilliseconds: 1000 * Number(expiry) })
new Server({ path: '/files', datastore }).listen({ host: '127.0.0.1', port: Number(port) })
