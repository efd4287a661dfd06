"""Logits of one prepared case from one trained variant, or from the same variant's several folds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from samunet.inference.prompted import answered
from samunet.inference.sliding_window import Pick, Slab, sliding_window
from samunet.inputs.embeddings import LiveEmbeddings
from samunet.inputs.protocols import CaseInputs
from samunet.networks.checkpoints.encoders import Encoder
from samunet.planning.plans import Plans
from samunet.preprocessing.case import PreparedCase
from samunet.variants.base import Baseline, TrainedVariant, Variant, device_of
from samunet.variants.prompted import PromptedVariant

MIRRORS = ((0,), (1,), (0, 1))


@torch.inference_mode()
def predict_case(
    variants: Sequence[Variant],
    case: PreparedCase,
    plans: Plans,
    encoder: Encoder | None,
    *,
    embeddings: CaseInputs | None = None,
    tta: bool = False,
    step: float | None = None,
) -> Iterator[Slab]:
    """Predict `case` on the plan's grid; networks stay on their device and are set to eval mode.

    Arguments:
        variants: one trained variant, or one for each fold, all of the same class; their logits are averaged.
        case: the preprocessed case; its segmentation is never read, its prompts only by variants that use them.
        plans: the plans of `case` and of the variants.
        encoder: the variants' encoder, if they need one; not needed with `embeddings` and without `tta`.
        embeddings: cached embeddings of the case without mirroring. Their own tile grid is used; `step` is ignored.
        tta: average the logits of the tiles and of their mirror images along rows, columns and both. Mirrored tiles are
            always encoded again.
        step: fraction of a tile between neighbours; None takes the plan's.

    Yields:
        (first slice, finite logits float32 (K, dz, Y, X)), every slice once, in order; baselines yield one slab.

    Raises:
        UserError: a needed encoder or prompts are missing.
    """
    if isinstance(variants[0], Baseline):
        yield 0, _mean([variant.predict(case) for variant in variants if isinstance(variant, Baseline)]).numpy()
        return
    # nothing is trained: all folds predict the same, and mirroring does not apply
    if isinstance(variants[0], PromptedVariant):
        if embeddings is None:
            assert encoder is not None
            embeddings = LiveEmbeddings(case, plans, encoder, step=step)
        yield from answered(variants[0], case, embeddings)
        return
    networks = [variant for variant in variants if isinstance(variant, TrainedVariant)]
    groups = [[each] for each in networks] if networks[0].inputs_depend_on_model else [networks]
    sources = [_Source(mirror, inputs, group) for group in groups
               for mirror, inputs in _sources(group[0], case, plans, encoder, embeddings, tta, step)]
    clean = sources[0].inputs
    for each in networks:
        each.network.eval()
    yield from sliding_window(
        lambda picks: _logits(sources, picks), clean.frame, clean.depth,
        batch_size=networks[0].batch_size(networks[0].context), stack_depth=networks[0].stack_depth,
        uniform_weights=networks[0].uniform_weights,
    )


def _sources(
    variant: TrainedVariant, case: PreparedCase, plans: Plans, encoder: Encoder | None, given: CaseInputs | None,
    tta: bool, step: float | None,
) -> list[tuple[tuple[int, ...], CaseInputs]]:
    """(mirrored axes, inputs of the tiles mirrored along them), the unmirrored first."""
    clean = variant.inputs_of(case, plans, encoder, step=step, cached=given)
    mirrors = MIRRORS if tta else ()
    return [((), clean), *((axes, variant.inputs_of(case, plans, encoder, axes, clean.frame.step)) for axes in mirrors)]


class _Source(NamedTuple):
    """Inputs, the axes along which they are mirrored, and the folds that read them: all, or the one that built them."""

    mirror: tuple[int, ...]
    inputs: CaseInputs
    readers: Sequence[TrainedVariant]


def _logits(sources: Sequence[_Source], picks: Sequence[Pick]) -> Tensor:
    """Logits float32 (B, K, N, rows, columns), the mean over mirrors and folds."""
    device = device_of(sources[0].readers[0])
    views = []
    with torch.autocast(device.type, enabled=device.type == "cuda"):
        for source in sources:
            inputs = source.inputs.read(picks).to(device)
            for variant in source.readers:
                logits = variant.logits(inputs).float()
                views.append(logits.flip([axis - 2 for axis in source.mirror]) if source.mirror else logits)
    mean = _mean(views)
    return mean if mean.ndim == 5 else mean[:, :, None]


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    total = tensors[0].float()
    for tensor in tensors[1:]:
        total = total + tensor.float()
    return total / len(tensors)
