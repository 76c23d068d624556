"""The application as servers of other people load it; `UPLOADS` in the environment is the directory."""

from __future__ import annotations

import os

import tusd_py

app = tusd_py.create_app(os.environ["UPLOADS"])
