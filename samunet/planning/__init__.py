"""From a dataset's images to decisions: fingerprint, plans, planner, splits and shots."""
