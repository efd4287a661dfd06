"""Sessions: one image, prompts and strokes one after the other, and the mask that they give."""
