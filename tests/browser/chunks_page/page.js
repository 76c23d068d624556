// Uppy's Dashboard with uploads in numbered chunks, by what stands in the README (chunks.js).

import '@uppy/core/css/style.min.css'
import '@uppy/dashboard/css/style.min.css'

import AwsS3 from '@uppy/aws-s3'
import Uppy from '@uppy/core'
import Dashboard from '@uppy/dashboard'

import { chunks } from './chunks.js'

new Uppy()
  .use(Dashboard, { target: '#dashboard', inline: true, showLinkToFileUploadResult: true })
  .use(AwsS3, chunks)
