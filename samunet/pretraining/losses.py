"""The losses of a recipe, by name."""

from __future__ import annotations

import torch
from torch import Tensor

from samunet.networks.sam import Sam
from samunet.pretraining import objectives
from samunet.pretraining.mask_objectives import answered, corrected
from samunet.pretraining.objectives import Encoded, Objectives
from samunet.pretraining.questions import Questions, ask_by_place, ask_in_context


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
            return loss_of_answers(questions_of(encoded, sam, name, generator), sam, name, generator, first_lesson)


def questions_of(encoded: Encoded, sam: Sam, name: str, generator: torch.Generator) -> Questions:
    """What the named loss of THROUGH_DECODER asks about a batch."""
    return ask_by_place(encoded, sam.prompt_encoder, generator) if name == "promptable" else ask_in_context(encoded, generator)


def loss_of_answers(questions: Questions, sam: Sam, name: str, generator: torch.Generator, first_lesson: bool) -> Tensor:
    """The named loss of THROUGH_DECODER; in the decoder's first lesson, the mask prompts are the answers."""
    if first_lesson:
        return answered(questions.first_lesson(), sam)
    return corrected(questions, sam, generator) if name == "promptable" else answered(questions, sam)
