"""Checkpoint files of encoders: find, recognise, download, read and write them."""
