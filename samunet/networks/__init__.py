"""Plain nn.Modules: SAM encoders and checkpoints, heads."""
