"""Moved to `samunet.dataset.io.readers`; importable from here for scripts that were written before the move."""

from samunet.dataset.io.readers import reader_for, reader_named

__all__ = ["reader_for", "reader_named"]
