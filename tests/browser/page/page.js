// Uppy's Dashboard with uploads by tus. The query's `tus` is JSON: options of @uppy/tus.
//
// `sent` is how far into the file the browser has told to have sent bytes.

import '@uppy/core/css/style.min.css'
import '@uppy/dashboard/css/style.min.css'

import Uppy from '@uppy/core'
import Dashboard from '@uppy/dashboard'
import Tus from '@uppy/tus'

const options = JSON.parse(new URLSearchParams(window.location.search).get('tus'))

window.sent = 0

new Uppy()
  .use(Dashboard, { target: '#dashboard', inline: true, showLinkToFileUploadResult: true })
  .use(Tus, options)
  .on('upload-progress', (_file, progress) => {
    window.sent = Math.max(window.sent, progress.bytesUploaded)
  })
