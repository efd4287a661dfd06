"""The readers and writers of image files."""
