"""Logits of one case from trained networks: the mean over folds, mirrored tiles and overlapping windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from samunet.inputs.protocols import CaseInputs, Place
from samunet.networks.checkpoints.encoders import Encoder
from samunet.planning.plans import Plans
from samunet.preprocessing.case import PreparedCase
from samunet.variants.precision import dtype_of
from samunet.variants.sliding_window import Slab, sliding_window

if TYPE_CHECKING:
    from samunet.variants.base import TrainedVariant

MIRRORS = ((0,), (1,), (0, 1))


@dataclass(frozen=True)
class Reading:
    """How a case is read for prediction.

    Arguments:
        plans: those that the case was preprocessed with.
        encoder: for variants that need one; not needed with `embeddings` and without `tta`.
        embeddings: cached embeddings of the case without mirroring. Their own tiles are used, whatever `step` says.
        tta: average the logits of the tiles and of their mirror images along rows, columns and both. Mirrored tiles are
            always encoded again.
        step: most distance between neighbouring windows, a fraction of a window along each axis; None: the plan's
            in-plane, and along slices what `sliding_window` says.
        members: behind the K channels of the mean, also give those of each member, a fold with one mirrored view, fold
            after fold: (1 + folds * views) * K channels. The mean's are the same bytes with them or without.
    """

    plans: Plans
    encoder: Encoder | None
    embeddings: CaseInputs | None = None
    tta: bool = False
    step: float | None = None
    members: bool = False


def averaged_slabs(networks: Sequence[TrainedVariant], case: PreparedCase, reading: Reading) -> Iterator[Slab]:
    """The slabs of `Variant.predict_slabs` from networks of one class, one for each fold."""
    groups = [[each] for each in networks] if networks[0].inputs_depend_on_model else [networks]
    sources = [_Source(mirror, inputs, group) for group in groups
               for mirror, inputs in _sources(group[0], case, reading)]
    clean = sources[0].inputs
    for each in networks:
        each.network.eval()
    yield from sliding_window(
        lambda picks: _logits(sources, picks, networks if reading.members else ()), clean.frame, clean.depth,
        batch_size=networks[0].batch_size(networks[0].context), slices=networks[0].slices,
        uniform_weights=networks[0].uniform_weights, slice_step=reading.step,
    )


def averaged(tensors: Sequence[Tensor]) -> Tensor:
    """The mean float32 of tensors of one shape."""
    total = tensors[0].float()
    for tensor in tensors[1:]:
        total = total + tensor.float()
    return total / len(tensors)


def _sources(variant: TrainedVariant, case: PreparedCase, reading: Reading) -> list[tuple[tuple[int, ...], CaseInputs]]:
    """(mirrored axes, inputs of the tiles so mirrored), the unmirrored first."""
    plans, encoder = reading.plans, reading.encoder
    clean = variant.inputs_of(case, plans, encoder, step=reading.step, cached=reading.embeddings)
    mirrors = MIRRORS if reading.tta else ()
    return [((), clean), *((axes, variant.inputs_of(case, plans, encoder, axes, clean.frame.step)) for axes in mirrors)]


class _Source(NamedTuple):
    """Inputs, the axes along which they are mirrored, and the folds that read them: all, or the one they belong to."""

    mirror: tuple[int, ...]
    inputs: CaseInputs
    readers: Sequence[TrainedVariant]


def _logits(sources: Sequence[_Source], picks: Sequence[Place], members: Sequence[TrainedVariant]) -> Tensor:
    """Logits float32 (B, K, N, rows, columns), the mean over mirrors and folds; behind it those of each of `members`.
    """
    device = next(sources[0].readers[0].network.parameters()).device
    views: list[tuple[TrainedVariant, Tensor]] = []
    dtype = dtype_of(sources[0].readers[0], device)
    for source in sources:
        inputs = source.inputs.read(picks).to(device)
        for variant in source.readers:
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                logits = variant.logits(inputs).float()
            views.append((variant, logits.flip([axis - 2 for axis in source.mirror]) if source.mirror else logits))
    mean = averaged([logits for _, logits in views])
    of_members = [logits for member in members for variant, logits in views if variant is member]
    found = torch.cat([mean, *of_members], 1) if of_members else mean
    return found if found.ndim == 5 else found[:, :, None]
