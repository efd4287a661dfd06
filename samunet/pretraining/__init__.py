"""Pretraining of the shipped encoder on made images: synthesis, objectives, the loop, and made validation families."""
