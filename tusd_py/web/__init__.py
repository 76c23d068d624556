"""HTTP: what comes in becomes calls of the service, what comes out becomes headers."""
