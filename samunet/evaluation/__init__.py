"""Metrics on the original grid, and nnU-Net's summary.json."""
