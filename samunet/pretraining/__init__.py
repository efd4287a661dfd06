"""Pretraining of the shipped encoder on synthetic images: synthesis, objectives, training loop and validation."""
