"""The registry, and one short file per variant: which network, what it reads, what trains, its loss."""
