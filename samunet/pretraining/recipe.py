"""The recipe of a pretraining run: its phases, learning rates, losses and seed."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from samunet.errors import UserError
from samunet.planning.encoder_spec import PATCH_SIZE

LOSSES = ("promptable", "in_context", "contrastive", "probe", "reconstruction", "position")
# Share of each loss in the encoder's gradient. The shares of the losses through the mask decoder grow from 0 after its
# FIRST_LESSON to their values after DECODER_STEPS: gradients through an untrained decoder are noise.
SHARES = {"promptable": 0.5, "in_context": 0.5, "contrastive": 0.1, "probe": 1.0, "reconstruction": 0.3,
          "position": 0.3}
THROUGH_DECODER = ("promptable", "in_context")
FIRST_LESSON, DECODER_STEPS = 200, 500
# In phases that train only the decoder, each batch is encoded once, and its queries are sampled repeatedly.
DECODER_UPDATES = 4
DECODER_RATE = 2.0  # times the learning rate
PATIENTS, SLICES = 4, 2
# The parts that a phase can train, and their losses. The image encoder is frozen in phases of the decoder.
PARTS = {
    "all": LOSSES,
    "encoder": tuple(loss for loss in LOSSES if loss not in THROUGH_DECODER),
    "decoder": THROUGH_DECODER,
}
LARGEST_SIZE, MOST_STEPS, MOST_FAMILIES = 1024, 10**7, 64
PHASE_MEND = "Write it as in 128:4000:4 or 128:4000:4:encoder."


@dataclass(frozen=True)
class Phase:
    """`steps` batches of `families` x PATIENTS x SLICES images of `size` x `size` pixels that train `part` of PARTS."""

    size: int
    steps: int
    families: int
    part: str = "all"

    @classmethod
    def parse(cls, text: str) -> Phase:
        """SIZE:STEPS:FAMILIES[:PART], as in 128:4000:4 or 128:4000:4:encoder.

        Raises:
            UserError: another form, a part that is not of PARTS, or numbers out of their bounds.
        """
        numbers, part = (text.rsplit(":", 1) if text.count(":") == 3 else (text, "all"))
        try:
            size, steps, families = map(int, numbers.split(":"))
        except ValueError as fault:
            raise UserError("A phase must be SIZE:STEPS:FAMILIES or SIZE:STEPS:FAMILIES:PART.", where="--phases",
                            found=text[:80], mend=PHASE_MEND) from fault
        if part not in PARTS:
            raise UserError(f"The part of a phase must be one of {', '.join(PARTS)}.", where="--phases", found=text,
                            mend=PHASE_MEND)
        if (not 64 <= size <= LARGEST_SIZE or size % PATCH_SIZE
                or not 1 <= steps <= MOST_STEPS or not 1 <= families <= MOST_FAMILIES):
            raise UserError(f"A phase's size must be a multiple of {PATCH_SIZE} from 64 to {LARGEST_SIZE}, its steps 1 "
                            f"to {MOST_STEPS} and its families 1 to {MOST_FAMILIES}.", where="--phases",
                            found=text[:80],
                            mend=PHASE_MEND)
        return cls(size, steps, families, part)


@dataclass(frozen=True)
class Recipe:
    """All settings of a run. `losses` are the ones that are used; ablations leave some out."""

    phases: tuple[Phase, ...]
    seed: int = 0
    losses: tuple[str, ...] = LOSSES
    learning_rate: float = 4e-4
    weight_decay: float = 0.05
    warmup_steps: int = 100
    ema_decay: float = 0.998

    @property
    def steps(self) -> int:
        """Total number of steps."""
        return sum(phase.steps for phase in self.phases)

    def phase_at(self, step: int) -> Phase:
        """The phase that step `step` (from 0) belongs to."""
        for phase in self.phases:
            if step < phase.steps:
                return phase
            step -= phase.steps
        raise IndexError("step after the last phase")

    def losses_at(self, step: int) -> tuple[str, ...]:
        """The losses that are used at step `step`."""
        return tuple(loss for loss in self.losses if loss in PARTS[self.phase_at(step).part])

    def rate_at(self, step: int) -> float:
        """Learning rate of step `step`: linear warm-up, then half a cosine to 1 % of the peak.

        Phases of the decoder have DECODER_RATE times the peak, and the same number of warm-up updates.
        """
        part, step, steps = self.course_at(step)
        peak, warmup = self.learning_rate, self.warmup_steps
        if part == "decoder":
            peak, warmup = peak * DECODER_RATE, warmup // DECODER_UPDATES
        if step < warmup:
            return peak * (step + 1) / warmup
        done = (step - warmup) / max(steps - warmup, 1)
        return peak * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)

    def course_at(self, step: int) -> tuple[str, int, int]:
        """The course that step `step` belongs to: consecutive phases that train the same part.

        Returns:
            the part, the number of steps of the course before this one, and its total number of steps.
        """
        for part, phases in groupby(self.phases, key=lambda phase: phase.part):
            steps = sum(phase.steps for phase in phases)
            if step < steps:
                return part, step, steps
            step -= steps
        raise IndexError("step after the last phase")

    def first_lesson_at(self, step: int) -> bool:
        """Whether step `step` is one of the first of its course, in which the decoder learns to use mask prompts."""
        part, step, _ = self.course_at(step)
        return step * (DECODER_UPDATES if part == "decoder" else 1) < FIRST_LESSON

    def share_at(self, loss: str, step: int) -> float:
        """Norm to which the loss's gradient at the embeddings is scaled at step `step`."""
        begun = (self.decoder_steps(step) - FIRST_LESSON) / (DECODER_STEPS - FIRST_LESSON)
        return SHARES[loss] * (min(max(begun, 0.0), 1.0) if loss in THROUGH_DECODER else 1.0)

    def decoder_steps(self, step: int) -> int:
        """How many of the steps before step `step` trained the mask decoder."""
        done = 0
        for phase in self.phases:
            done += min(step, phase.steps) * (phase.part != "encoder")
            step = max(step - phase.steps, 0)
        return done

    def to_json(self) -> dict[str, Any]:
        """The recipe with all constants that decide a run, as built-in types."""
        return asdict(self) | {"losses": list(self.losses), "shares": SHARES, "patients": PATIENTS, "slices": SLICES}
