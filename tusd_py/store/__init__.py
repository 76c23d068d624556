"""The bytes of uploads on disk, in tusd's layout. Everything here blocks and belongs in a worker thread."""
