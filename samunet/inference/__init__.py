"""From trained models to segmentations on the input's own grid."""
