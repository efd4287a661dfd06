"""Datasets of other layouts as raw datasets in nnU-Net v2's format."""
