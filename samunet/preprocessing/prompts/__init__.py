"""Prompts: from files or from labels, on the grid of the plan."""
