"""What a network reads: the samples of a case, their augmentation and their batches, one file for each kind."""
