"""Validation of a start on unseen synthetic families: few-label Dice of the closed-form head, before any update."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor

from samunet.pretraining.start_episodes import KINDS, PATIENTS, Episode, make_episode
from samunet.pretraining.start_probe import Features, dice_of, logits_of
from samunet.pretraining.start_volumes import Kind
from samunet.pretraining.validation import VALIDATION_SEED

OF_EACH_KIND = 6  # one for each number of labelled patients, with and without transported labels


@cache
def validation_episodes() -> tuple[Episode, ...]:
    """Families that no training seed gives."""
    generator = torch.Generator().manual_seed(VALIDATION_SEED)
    return tuple(make_episode(kind, 1 + number % len(PATIENTS), number >= len(PATIENTS), generator)
                 for kind in KINDS for number in range(OF_EACH_KIND))


@torch.no_grad()
def validate(features: Mapping[Kind, Features], start: Mapping[str, Tensor]) -> dict[str, float]:
    """Mean Dice over episodes: of all, of isotropic and thick volumes, with and without transported labels."""
    found: dict[str, list[float]] = {}
    for episode in validation_episodes():
        logits = logits_of(features[episode.kind].of(start, episode.inputs), episode)
        dice = dice_of(logits, episode.classes[episode.labelled :])
        for name in ("all", "thick" if episode.kind.thick else "isotropic", "prior" if episode.prior else "image"):
            found.setdefault(name, []).append(dice)
    return {name: round(sum(values) / len(values), 4) for name, values in found.items()}
