"""samunet: Segment Anything, adapted to medical images with few labels, in nnU-Net's formats."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from samunet.api.benchmarking import benchmark as benchmark
    from samunet.api.evaluation import evaluate as evaluate
    from samunet.api.prediction import Predictor as Predictor
    from samunet.api.preparation import plan as plan
    from samunet.api.preparation import preprocess as preprocess
    from samunet.api.training import train as train
    from samunet.interaction.session import Session as Session

__version__ = "0.1.0"

# The stable names and where they are; each is imported when it is first used, so that commands start without it.
_PLACES = {
    "benchmark": "samunet.api.benchmarking",
    "plan": "samunet.api.preparation",
    "preprocess": "samunet.api.preparation",
    "train": "samunet.api.training",
    "Predictor": "samunet.api.prediction",
    "evaluate": "samunet.api.evaluation",
    "Session": "samunet.interaction.session",
}


def __getattr__(name: str) -> object:
    """A name of the Python API, imported now."""
    if name in _PLACES:
        found: object = getattr(import_module(_PLACES[name]), name)
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The module's own names and those of the Python API."""
    return sorted({*globals(), *_PLACES})
