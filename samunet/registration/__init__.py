"""Registration of volumes to each other, and fusion of the transferred labels."""
