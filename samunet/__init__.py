"""samunet: Segment Anything, adapted to medical images with few labels, in nnU-Net's formats."""

__version__ = "0.1.0"
