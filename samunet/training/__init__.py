"""One readable loop, and what it needs: sampling, checkpoints, logbook."""
