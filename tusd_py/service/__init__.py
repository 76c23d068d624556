"""The use cases: what the server does, whatever asked for it."""
