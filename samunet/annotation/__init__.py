"""The annotation page: a local server, its state on disk, and what it serves."""
