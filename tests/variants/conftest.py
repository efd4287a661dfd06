"""The small synthetic dataset of `made_dataset`, for the tests of this room."""

from made_dataset import made, prepared

__all__ = ["made", "prepared"]
