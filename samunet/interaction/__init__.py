"""Sessions: one image, its prompts in their order, undo and redo, and the mask that they give."""
