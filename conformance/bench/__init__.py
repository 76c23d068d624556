"""Load and speed of a tus server, measured from outside its process."""
