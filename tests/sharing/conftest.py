"""The small synthetic dataset of `made_dataset`, for models that are trained here."""

from made_dataset import made, prepared

__all__ = ["made", "prepared"]
