"""What is done with predictions of trained models: merge folds, ensemble, post-process, choose the best."""
