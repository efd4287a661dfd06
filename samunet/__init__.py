"""samunet: Segment Anything, adapted to medical images with few labels, in nnU-Net's formats."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from samunet.interaction.session import Session as Session

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """`samunet.Session`, imported when it is first used: commands start without it."""
    if name == "Session":
        from samunet.interaction.session import Session

        return Session
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
