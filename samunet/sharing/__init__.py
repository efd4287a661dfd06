"""Trained models shared as bundles: exported to one zip, installed from it."""
