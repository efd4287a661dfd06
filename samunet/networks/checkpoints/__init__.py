"""Checkpoint files of encoders: found, recognised, downloaded, read and written."""
