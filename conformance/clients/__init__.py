"""Example clients, to copy from."""
