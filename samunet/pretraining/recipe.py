"""What a pretraining run is: its phases, rates, losses and seed."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from samunet.errors import UserError
from samunet.planning.encoder_spec import PATCH_SIZE

LOSSES = ("promptable", "in_context", "contrastive", "probe", "reconstruction")
# Share of each loss in the encoder's gradient. Those that go through the mask decoder grow to theirs over DECODER_STEPS: what
# a decoder wants that knows nothing yet is noise.
SHARES = {"promptable": 0.1, "in_context": 0.1, "contrastive": 0.1, "probe": 1.0, "reconstruction": 0.3}
THROUGH_DECODER = ("promptable", "in_context")
DECODER_STEPS = 500
PATIENTS, SLICES = 4, 2


@dataclass(frozen=True)
class Phase:
    """`steps` batches of `families` x PATIENTS x SLICES pictures of `size` x `size` pixels."""

    size: int
    steps: int
    families: int

    @classmethod
    def parse(cls, text: str) -> Phase:
        """SIZE:STEPS:FAMILIES, as in 128:4000:4.

        Raises:
            UserError: another form, or a size that is no multiple of 16 from 64 on.
        """
        try:
            size, steps, families = map(int, text.split(":"))
        except ValueError as fault:
            raise UserError("A phase must be SIZE:STEPS:FAMILIES.", where="--phases", found=text,
                            mend="Write it as in 128:4000:4.") from fault
        if size < 64 or size % PATCH_SIZE or steps < 1 or families < 1:
            raise UserError(f"A phase's size must be a multiple of {PATCH_SIZE} from 64 on, steps and families at least 1.",
                            where="--phases", found=text, mend="Write it as in 128:4000:4.")
        return cls(size, steps, families)


@dataclass(frozen=True)
class Recipe:
    """All that decides a run. `losses` are those that train; the others are left out, for ablations."""

    phases: tuple[Phase, ...]
    seed: int = 0
    losses: tuple[str, ...] = LOSSES
    learning_rate: float = 6e-4
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

    def rate_at(self, step: int) -> float:
        """Learning rate of step `step`: linear warm-up, then half a cosine to 1 % of the peak."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(self.steps - self.warmup_steps, 1)
        return self.learning_rate * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)

    def share_at(self, loss: str, step: int) -> float:
        """Norm to which the loss's gradient at the embeddings is scaled at step `step`."""
        return SHARES[loss] * (min(step / DECODER_STEPS, 1.0) if loss in THROUGH_DECODER else 1.0)

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"losses": list(self.losses), "shares": SHARES, "patients": PATIENTS, "slices": SLICES}
