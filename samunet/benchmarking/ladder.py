"""Candidates of `samunet_find_best_configuration` and their shares of the budget (successive halving); no torch."""

from __future__ import annotations

from dataclasses import dataclass

LADDER = ("hybrid_teacher", "linear_head", "cnn_head", "autosam", "fewshot", "hybrid_embeddings", "lora", "hybrid")
"""Trained candidates, from the cheapest to the most expensive: the first encodes no slice, the last registers cases.
`hybrid` is tried without and with embeddings, whatever the plan says; without them it also learns from the unlabelled
cases, where the budget is long enough for that. Add new ones here only."""

BASELINES = ("label_prior", "atlas")
"""Baselines that a trained candidate must beat; the better one is chosen if none does."""

TRAIN_NOTHING = (*BASELINES, "in_context")
"""Scored once, in round 0: more training time changes nothing."""

FEWEST_PATIENTS = 3
"""With two patients, each would be scored by a model of the other one, and the bootstrap would have two values."""

# For fewer patients: registered labels help most there. With one hippocampus case it was better than `atlas` in
# development (see `HybridVariant`). It is not known whether this holds for other datasets.
FIXED = "hybrid"


@dataclass(frozen=True)
class Length:
    """How long a run trains; with neither, for the variant's own length."""

    iterations: int | None = None
    minutes: float | None = None

    def __str__(self) -> str:
        return f"{self.iterations} iterations" if self.minutes is None else f"{self.minutes:.3g} minutes"


def sizes(candidates: int) -> list[int]:
    """Number of candidates in each round: all, then the better half, rounded up, down to two in the last round.

    A single candidate has one round, to be scored.
    """
    rounds = [candidates] if candidates else []
    while rounds and rounds[-1] > 2:
        rounds.append((rounds[-1] + 1) // 2)
    return rounds


def shares(candidates: int) -> list[float]:
    """Fraction of the budget that one candidate gets in each round: doubles each round, and sums to 1 over all runs.

    If the halves are even, each round gets the same (successive halving, Jamieson and Talwalkar, AISTATS 2016).
    """
    parts = [2**number for number in range(len(sizes(candidates)))]
    total = sum(count * part for count, part in zip(sizes(candidates), parts, strict=True))
    return [part / total for part in parts]
