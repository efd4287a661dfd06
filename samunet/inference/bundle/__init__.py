"""Model bundles as prediction reads them: one zip of a trained model's files, checked before anything is written."""
