"""From raw files to normalised arrays and cached embeddings."""
