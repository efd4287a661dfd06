"""Whether the tensors of a checkpoint are those of the variant that is to take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from samunet.errors import some


def require_same(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Refuse tensors whose names, shapes or number types are not those of `wanted`.

    Raises:
        ValueError: names the first that differ.
    """
    faults = [f"{name} is missing" for name in wanted if name not in given]
    faults += [f"{name} is unknown" for name in given if name not in wanted]
    faults += [f"{name} is {_described(given[name])}, not {_described(wanted[name])}" for name in wanted
               if name in given and (given[name].shape, given[name].dtype) != (wanted[name].shape, wanted[name].dtype)]
    if faults:
        raise ValueError(some(faults))


def require_form(
    given: Mapping[str, Tensor], name: str, shape: Sequence[int | None], dtypes: Sequence[torch.dtype]
) -> Tensor:
    """The tensor `name`, of one of the number types and of a shape in which None stands for any length of 1 or more.

    Raises:
        ValueError: it is missing, or of another shape or type.
    """
    if name not in given:
        raise ValueError(f"{name} is missing")
    found = given[name]
    fits = found.ndim == len(shape) and all(length >= 1 if side is None else length == side
                                            for length, side in zip(found.shape, shape, strict=True))
    if not fits or found.dtype not in dtypes:
        sides = " x ".join("any" if side is None else str(side) for side in shape)
        raise ValueError(f"{name} is {_described(found)}, not {sides} of {' or '.join(map(str, dtypes))}")
    return found


def _described(tensor: Tensor) -> str:
    return f"{' x '.join(map(str, tensor.shape)) or 'a number'} of {tensor.dtype}"
