"""The ladder of `samunet_find_best_configuration`, and how its rungs share a budget by successive halving. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

LADDER = ("linear_head", "cnn_head", "autosam", "fewshot", "hybrid_off", "lora", "hybrid")
"""From the cheapest to the dearest. A new rung is added here, and nowhere else."""

COMPARATORS = ("label_prior", "atlas")
"""What a rung must beat, and what is chosen where none does."""

TRAIN_NOTHING = (*COMPARATORS, "in_context")
"""Scored once, in no round: more time would change nothing."""

FEWEST_PATIENTS = 3
"""Of two patients each would be judged by the other alone, and the bootstrap would draw from two numbers."""

# For fewer patients: what registration carries is worth most there. From one hippocampus case it was ahead of `atlas` in development
# (see `HybridVariant`). Whether one dataset speaks for others is not known.
FIXED = "hybrid"


@dataclass(frozen=True)
class Length:
    """How long a run trains; neither is the variant's own length."""

    iterations: int | None = None
    minutes: float | None = None

    def __str__(self) -> str:
        return f"{self.iterations} iterations" if self.minutes is None else f"{self.minutes:.3g} minutes"


def sizes(candidates: int) -> list[int]:
    """How many take part in each round: all, then always the better half, rounded up; two in the last, which leaves one.

    One candidate has a round too, to be scored; none has none.
    """
    rounds = [candidates] if candidates else []
    while rounds and rounds[-1] > 2:
        rounds.append((rounds[-1] + 1) // 2)
    return rounds


def shares(candidates: int) -> list[float]:
    """Which part of the budget one candidate gets in each round: twice that of the round before, over all together 1.

    Where halves are even each round gets the same, as Jamieson and Talwalkar have it (AISTATS 2016, successive halving).
    """
    parts = [2**number for number in range(len(sizes(candidates)))]
    total = sum(count * part for count, part in zip(sizes(candidates), parts, strict=True))
    return [part / total for part in parts]
