// node server.mjs PORT DIR: @tus/server, the Node server of the tus project, on http://127.0.0.1:PORT/files/
// Unfinished uploads expire after five seconds.
import { FileStore } from '@tus/file-store'
import { Server } from '@tus/server'

// Node 20 throws this, out of reach of any server, when the stream of a request's body is cancelled as it ends;
// uncaught it would be the death of the process.
process.on('uncaughtException', (error) => {
  if (error.code !== 'ERR_INVALID_STATE') throw error
})

const [port, directory] = process.argv.slice(2)
const datastore = new FileStore({ directory, expirationPeriodInMilliseconds: 5000 })
new Server({ path: '/files', datastore }).listen({ host: '127.0.0.1', port: Number(port) })
