"""Registration of volumes to each other, and the fusion of the labels that it carries."""
