"""What a pretraining run is: its phases, rates, losses and seed."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from samunet.errors import UserError
from samunet.planning.encoder_spec import PATCH_SIZE

LOSSES = ("promptable", "in_context", "contrastive", "probe", "reconstruction", "position")
# Share of each loss in the encoder's gradient. Those that go through the mask decoder grow to theirs after its FIRST_LESSON until
# it has had DECODER_STEPS: what a decoder wants that knows nothing yet is noise.
SHARES = {"promptable": 0.5, "in_context": 0.5, "contrastive": 0.1, "probe": 1.0, "reconstruction": 0.3,
          "position": 0.3}
THROUGH_DECODER = ("promptable", "in_context")
FIRST_LESSON, DECODER_STEPS = 200, 500
PATIENTS, SLICES = 4, 2
# What a phase trains, and by which losses. While the decoder is trained alone, the image encoder stands still.
PARTS = {
    "all": LOSSES,
    "encoder": tuple(loss for loss in LOSSES if loss not in THROUGH_DECODER),
    "decoder": THROUGH_DECODER,
}
PHASE_MEND = "Write it as in 128:4000:4 or 128:4000:4:encoder."


@dataclass(frozen=True)
class Phase:
    """`steps` batches of `families` x PATIENTS x SLICES pictures of `size` x `size` pixels, which train `part` (of PARTS)."""

    size: int
    steps: int
    families: int
    part: str = "all"

    @classmethod
    def parse(cls, text: str) -> Phase:
        """SIZE:STEPS:FAMILIES[:PART], as in 128:4000:4 or 128:4000:4:encoder.

        Raises:
            UserError: another form, a part that is not of PARTS, or a size that is no multiple of 16 from 64 on.
        """
        numbers, part = (text.rsplit(":", 1) if text.count(":") == 3 else (text, "all"))
        try:
            size, steps, families = map(int, numbers.split(":"))
        except ValueError as fault:
            raise UserError("A phase must be SIZE:STEPS:FAMILIES or SIZE:STEPS:FAMILIES:PART.", where="--phases", found=text,
                            mend=PHASE_MEND) from fault
        if part not in PARTS:
            raise UserError(f"A phase trains one of {', '.join(PARTS)}.", where="--phases", found=text, mend=PHASE_MEND)
        if size < 64 or size % PATCH_SIZE or steps < 1 or families < 1:
            raise UserError(f"A phase's size must be a multiple of {PATCH_SIZE} from 64 on, steps and families at least 1.",
                            where="--phases", found=text, mend=PHASE_MEND)
        return cls(size, steps, families, part)


@dataclass(frozen=True)
class Recipe:
    """All that decides a run. `losses` are those that train; the others are left out, for ablations."""

    phases: tuple[Phase, ...]
    seed: int = 0
    losses: tuple[str, ...] = LOSSES
    learning_rate: float = 4e-4
    weight_decay: float = 0.05
    warmup_steps: int = 100
    ema_decay: float = 0.998

    @property
    def steps(self) -> int:
        return sum(phase.steps for phase in self.phases)

    def phase_at(self, step: int) -> Phase:
        """The phase that step `step` (from 0) belongs to."""
        for phase in self.phases:
            if step < phase.steps:
                return phase
            step -= phase.steps
        raise IndexError("step after the last phase")

    def losses_at(self, step: int) -> tuple[str, ...]:
        """The losses that train at step `step`."""
        return tuple(loss for loss in self.losses if loss in PARTS[self.phase_at(step).part])

    def rate_at(self, step: int) -> float:
        """Learning rate of step `step`: linear warm-up, then half a cosine to 1 % of the peak.

        Phases that follow each other and train the same part share one such course.
        """
        for _, phases in groupby(self.phases, key=lambda phase: phase.part):
            steps = sum(phase.steps for phase in phases)
            if step < steps:
                return self._course(step, steps)
            step -= steps
        raise IndexError("step after the last phase")

    def _course(self, step: int, steps: int) -> float:
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(steps - self.warmup_steps, 1)
        return self.learning_rate * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)

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
        return asdict(self) | {"losses": list(self.losses), "shares": SHARES, "patients": PATIENTS, "slices": SLICES}
