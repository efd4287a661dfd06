"""Segment-anything's modules that samunet builds on, imported without the package around them.

The package itself imports torchvision and torch's compiler, which takes a process about two seconds; its modules need
torch alone.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import TYPE_CHECKING

PACKAGE = "segment_anything"


def _modeling() -> ModuleType:
    """`segment_anything.modeling`; a later import of the package runs its own code, with the same modules."""
    if PACKAGE in sys.modules:
        return import_module(f"{PACKAGE}.modeling")
    spec = find_spec(PACKAGE)
    if spec is None:
        raise ModuleNotFoundError(f"No module named '{PACKAGE}'", name=PACKAGE)
    package = sys.modules[PACKAGE] = module_from_spec(spec)  # its own code is not run
    try:
        return import_module(f"{package.__name__}.modeling")
    finally:
        del sys.modules[PACKAGE]


if TYPE_CHECKING:
    from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
    from segment_anything.modeling.common import LayerNorm2d
    from segment_anything.modeling.mask_decoder import MLP
else:
    _modules = _modeling()
    MaskDecoder, PromptEncoder = _modules.MaskDecoder, _modules.PromptEncoder
    TwoWayTransformer = _modules.TwoWayTransformer
    LayerNorm2d, MLP = _modules.common.LayerNorm2d, _modules.mask_decoder.MLP

__all__ = ["MLP", "LayerNorm2d", "MaskDecoder", "PromptEncoder", "TwoWayTransformer"]
