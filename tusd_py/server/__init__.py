"""uvicorn, with what it lacks for uploads: time-outs, lent sockets, trailers, tusd's signals."""
