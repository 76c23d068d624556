"""What clients do to a server, a kind of work each."""
