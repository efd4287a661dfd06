"""What training one run is expected to take, said before it starts."""

from __future__ import annotations

from samunet.console import say
from samunet.planning.adapter_memory import PROCESS_BYTES
from samunet.planning.expected_cost import Cost, registration_seconds
from samunet.planning.plans import EncoderPlan
from samunet.training.experiment import Experiment
from samunet.variants.base import TrainedVariant
from samunet.variants.entries import VariantEntry
from samunet.variants.registry import entry

WEIGHTS_ON_DISK = 4  # final weights; weights and both means of AdamW in the latest checkpoint
WEIGHTS_IN_MEMORY = 4  # values, gradients, and both means
SUPPORTS = 8  # cases at most that are registered to each training case


def announce_training(experiment: Experiment, variant: TrainedVariant) -> None:
    """Say the expected time, memory and disk of the run.

    Memory is that of a process and its weights, or what the plan counted where it counted one; activations of other
    variants are not counted; on a GPU only what the plan counted is. Time is known where minutes are given: those, and
    registration. Nothing is refused: what is written is small, and a full disk has a message of its own.
    """
    settings, section = experiment.settings, experiment.section
    weights = sum(tensor.nbytes for tensor in variant.state().values())
    of_variant = entry(settings.variant)
    planned, on_cpu = planned_bytes(of_variant, section), settings.device == "cpu"
    memory = (planned or PROCESS_BYTES + WEIGHTS_IN_MEMORY * weights) if on_cpu else 0
    registration = 0.0
    if experiment.context.settings is not None and experiment.context.settings.registers:
        registration = registration_seconds(registered_pairs(len(experiment.train_cases)), experiment.plans.dataset)
    seconds = 60 * settings.minutes + registration if settings.minutes else None
    cost = Cost(seconds, memory, WEIGHTS_ON_DISK * weights, 0 if on_cpu else planned)
    say(f"training {settings.variant}: expected {cost}")


def planned_bytes(of_variant: VariantEntry, section: EncoderPlan) -> int:
    """What the plan counted for a training step of a variant, of a process or of a GPU; 0 where it counted none."""
    if of_variant.needs == "image_stacks":
        return section.adapters.training_bytes
    if of_variant.reads_patches_3d and section.patches_3d is not None:
        return section.patches_3d.training_bytes
    return 0


def registered_pairs(cases: int) -> int:
    """Pairs of `cases` training cases that a run registers."""
    return cases * min(SUPPORTS, max(cases - 1, 1))
