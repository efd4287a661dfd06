"""Logits of one prepared case from one trained variant, or from the same variant's several folds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from samunet.errors import UserError
from samunet.inference.sliding_window import Pick, Slab, sliding_window
from samunet.networks.checkpoints import Encoder
from samunet.planning.plans import Plans
from samunet.preprocessing.case import PreparedCase
from samunet.preprocessing.embeddings import CaseEmbeddings, LiveEmbeddings
from samunet.variants.base import Comparator, EmbeddingVariant, Variant, device_of

MIRRORS = ((0,), (1,), (0, 1))


@torch.inference_mode()
def predict_case(
    variants: Sequence[Variant],
    case: PreparedCase,
    plans: Plans,
    encoder: Encoder | None,
    *,
    embeddings: CaseEmbeddings | None = None,
    tta: bool = False,
    step: float | None = None,
) -> Iterator[Slab]:
    """Predict `case` on the plan's grid; networks are left in eval mode, on the device where they were.

    Arguments:
        variants: one trained variant, or one for each fold, all of the same class; their logits are averaged.
        case: the preprocessed case; its segmentation is never read.
        plans: the plans that `case` and the variants were made with.
        encoder: encodes the tiles that `embeddings` does not hold; not needed by comparators or with `embeddings`.
        embeddings: cached embeddings of the case without mirroring. Their own tile grid is used, whatever `step` says.
        tta: average the logits of the tiles and of their mirror images along rows, columns and both. Mirrored tiles are
            always encoded anew.
        step: fraction of a tile between neighbours; None takes the plan's.

    Yields:
        (first slice, finite logits float32 (K, dz, Y, X)), together every slice once, in order; comparators yield one slab.

    Raises:
        UserError: an encoder is needed and there is none.
    """
    if isinstance(variants[0], Comparator):
        yield 0, _mean([variant.predict(case) for variant in variants if isinstance(variant, Comparator)]).numpy()
        return
    heads = [variant for variant in variants if isinstance(variant, EmbeddingVariant)]
    sources = _sources(case, plans, encoder, embeddings, tta, step)
    clean = sources[0][1]
    for head in heads:
        head.network.eval()
    yield from sliding_window(
        lambda picks: _logits(heads, sources, picks)[:, :, None],
        clean.frame,
        clean.depth,
        batch_size=heads[0].context.encoder_plan.batch_size,
    )


def _sources(
    case: PreparedCase, plans: Plans, encoder: Encoder | None, embeddings: CaseEmbeddings | None, tta: bool,
    step: float | None,
) -> list[tuple[tuple[int, ...], CaseEmbeddings]]:
    """(mirrored axes, embeddings of the tiles so mirrored), the unmirrored first."""
    if encoder is None:
        if embeddings is None or tta:
            raise UserError("An encoder is needed where embeddings are not cached.", where=case.properties.name)
        return [((), embeddings)]
    clean = LiveEmbeddings(case, plans, encoder, step=step) if embeddings is None else embeddings
    mirrors = MIRRORS if tta else ()
    mirrored = [(axes, LiveEmbeddings(case, plans, encoder, mirror=axes, step=clean.frame.step)) for axes in mirrors]
    return [((), clean), *mirrored]


def _logits(
    heads: Sequence[EmbeddingVariant], sources: Sequence[tuple[tuple[int, ...], CaseEmbeddings]], picks: Sequence[Pick]
) -> Tensor:
    """Logits float32 (B, K, rows, columns), the mean over mirrors and folds; embeddings are read once for all folds."""
    device = device_of(heads[0])
    views = []
    with torch.autocast(device.type, enabled=device.type == "cuda"):
        for mirror, source in sources:
            embeddings = source.read(picks).to(device)
            for head in heads:
                logits = head.logits(embeddings).float()
                views.append(logits.flip([axis + 2 for axis in mirror]) if mirror else logits)
    return _mean(views)


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    total = tensors[0].float()
    for tensor in tensors[1:]:
        total = total + tensor.float()
    return total / len(tensors)
