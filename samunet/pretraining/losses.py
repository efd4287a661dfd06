"""The losses of a recipe, by name."""

from __future__ import annotations

import torch
from torch import Tensor

from samunet.networks.sam import Sam
from samunet.pretraining import objectives
from samunet.pretraining.mask_objectives import answered, corrected
from samunet.pretraining.objectives import Encoded, Objectives
from samunet.pretraining.queries import Queries, queries_by_place, queries_in_context


def loss_of(
    encoded: Encoded, sam: Sam, extra: Objectives, name: str, generator: torch.Generator, first_lesson: bool = False
) -> Tensor:
    """The named loss of a batch."""
    match name:
        case "contrastive":
            return objectives.contrastive(encoded, extra, generator)
        case "probe":
            return objectives.probe(encoded, extra, generator)
        case "reconstruction":
            return objectives.reconstruction(encoded, extra, generator)
        case "position":
            return objectives.position(encoded, extra, generator)
        case _:
            return loss_of_answers(queries_of(encoded, sam, name, generator), sam, name, generator, first_lesson)


def queries_of(encoded: Encoded, sam: Sam, name: str, generator: torch.Generator) -> Queries:
    """The queries of a batch for the named loss of THROUGH_DECODER."""
    if name == "promptable":
        return queries_by_place(encoded, sam.prompt_encoder, generator)
    return queries_in_context(encoded, generator)


def loss_of_answers(queries: Queries, sam: Sam, name: str, generator: torch.Generator, first_lesson: bool) -> Tensor:
    """The named loss of THROUGH_DECODER; in the decoder's first lesson, the mask prompts are the targets."""
    if first_lesson:
        return answered(queries.first_lesson(), sam)
    return corrected(queries, sam, generator) if name == "promptable" else answered(queries, sam)
