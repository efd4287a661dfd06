"""Version 1 of a plans file: an encoder had one section. Digests of runs are of this form."""

from __future__ import annotations

from dataclasses import dataclass, field

from samunet.planning.sections import (
    AdapterPlan,
    Batch,
    Count,
    EncoderPlan,
    Iterations,
    Pixels,
    Slices,
    Step,
    Voxels,
)


@dataclass(frozen=True)
class FirstEncoderPlan:
    """An encoder's section of version 1.

    The fields that begin with `stack`, and `checkpointed`, are those of 3D adapters.
    """

    encoder: str
    input_size: Pixels
    tile_shape: tuple[Voxels, Voxels]
    tile_step: Step
    composition: str
    stack_depth: Slices
    batch_size: Batch
    cache_dtype: str
    cache_bytes: Count
    head_iterations: Iterations
    view_pictures: Count = 0
    stack_input_size: Pixels = 256
    stacks: Batch = 2
    stacks_at_once: Batch = 2
    checkpointed: bool = False
    stack_bytes: Count = 0
    reasons: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: EncoderPlan) -> FirstEncoderPlan:
        """`plan` as version 1 held it, without reasons and without what version 1 did not know."""
        adapters = plan.adapters
        return cls(
            plan.encoder,
            plan.input_size,
            plan.tile_shape,
            plan.tile_step,
            plan.composition,
            adapters.slices,
            plan.batch_size,
            plan.cache_dtype,
            plan.cache_bytes,
            plan.head_iterations,
            plan.view_pictures,
            adapters.input_size,
            adapters.batch_size,
            adapters.micro_batch,
            adapters.checkpointed,
            adapters.training_bytes,
        )

    def sections(self) -> EncoderPlan:
        """The same decisions in the sections of today, each with its reasons; there is none for `hybrid`."""
        of_adapters = {now: self.reasons[then] for then, now in ADAPTER_NAMES.items() if then in self.reasons}
        others = {name: reason for name, reason in self.reasons.items() if name not in ADAPTER_NAMES}
        adapters = AdapterPlan(
            self.stack_depth,
            self.stack_input_size,
            self.stacks,
            self.stacks_at_once,
            self.checkpointed,
            self.stack_bytes,
            of_adapters,
        )
        return EncoderPlan(
            self.encoder,
            self.input_size,
            self.tile_shape,
            self.tile_step,
            self.composition,
            self.batch_size,
            self.cache_dtype,
            self.cache_bytes,
            self.head_iterations,
            self.view_pictures,
            others,
            None,
            adapters,
        )


ADAPTER_NAMES = {
    "stack_depth": "slices", "stack_input_size": "input_size", "stacks": "batch_size", "stacks_at_once": "micro_batch",
    "checkpointed": "checkpointed", "stack_bytes": "training_bytes",
}
"""Name in version 1 -> name in the section of adapters."""
