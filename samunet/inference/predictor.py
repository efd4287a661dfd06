"""Logits of one prepared case from one trained variant, or from the same variant's several folds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from samunet.inputs.protocols import CaseInputs
from samunet.networks.checkpoints.encoders import Encoder
from samunet.planning.plans import Plans
from samunet.preprocessing.case import PreparedCase
from samunet.variants.base import Variant
from samunet.variants.prediction import Reading
from samunet.variants.sliding_window import Slab


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
    members: bool = False,
) -> Iterator[Slab]:
    """Predict `case` on the plan's grid; networks are left in evaluation mode, on the device where they were.

    Arguments:
        variants: one trained variant, or one for each fold, all of the same class; their logits are averaged.
        case: the preprocessed case; its segmentation is never read, its prompts by variants that answer them.
        plans, encoder, embeddings, tta, step, members: see `Reading`.

    Yields:
        (first slice, finite logits float32 (K, dz, Y, X)), every slice once, in order; baselines yield one slab. With
        `members` there are more channels.

    Raises:
        UserError: a needed encoder or prompts are missing.
    """
    yield from variants[0].predict_slabs(variants, case, Reading(plans, encoder, embeddings, tta, step,
                                                                   members))
