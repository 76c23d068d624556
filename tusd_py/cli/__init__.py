"""The command line, in the syntax of tusd's."""
