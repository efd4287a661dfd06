"""Cross-validation over variants, folds, shots and draws: jobs, machines, results, statistics, report."""
