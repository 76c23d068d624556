"""The rules of the protocol as functions on values: no input or output, no event loop, no framework."""
