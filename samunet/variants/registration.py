"""Moved to `samunet.registration.registration`; importable from here for scripts that were written before the move."""

from samunet.registration.registration import register, register_affine, register_demons

__all__ = ["register", "register_affine", "register_demons"]
