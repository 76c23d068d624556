// Delete the upload whose URL is the only argument.

import { Upload } from 'tus-js-client'

await Upload.terminate(process.argv[2])
