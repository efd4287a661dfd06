"""nnU-Net v2 raw datasets: dataset.json, labels, cases, readers and writers, integrity checks, paths."""
