"""Plain nn.Modules: SAM's encoders and decoders, adapters, heads, the U-Net."""
