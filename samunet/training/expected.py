"""What training one run is expected to take, said before it starts."""

from __future__ import annotations

from samunet.console import say
from samunet.planning.adapter_memory import PROCESS_BYTES
from samunet.planning.expected_cost import Cost, registration_seconds
from samunet.training.experiment import Experiment
from samunet.variants.base import TrainedVariant
from samunet.variants.registry import entry

WEIGHTS_ON_DISK = 4  # final weights; weights and both means of AdamW in the latest checkpoint
WEIGHTS_IN_MEMORY = 4  # values, gradients, and both means
SUPPORTS = 8  # cases at most that are registered to each training case


def announce_training(experiment: Experiment, variant: TrainedVariant) -> None:
    """Say the expected time, memory and disk of the run.

    Memory is that of a process and its weights, or what the plan counted where it counted one; activations of other
    variants are not counted, and on a GPU none is. Time is known where minutes are given: those, and registration.
    Nothing is refused: what is written is small, and a full disk has a message of its own.
    """
    settings, section = experiment.settings, experiment.section
    weights = sum(tensor.nbytes for tensor in variant.state().values())
    of_variant = entry(settings.variant)
    planned = 0
    if of_variant.needs == "image_stacks":
        planned = section.adapters.training_bytes
    elif of_variant.reads_patches_3d and section.patches_3d is not None:
        planned = section.patches_3d.training_bytes
    memory = (planned or PROCESS_BYTES + WEIGHTS_IN_MEMORY * weights) if settings.device == "cpu" else 0
    registration = 0.0
    if experiment.context.settings is not None and experiment.context.settings.registers:
        cases = len(experiment.train_cases)
        registration = registration_seconds(cases * min(SUPPORTS, max(cases - 1, 1)), experiment.plans.dataset)
    seconds = 60 * settings.minutes + registration if settings.minutes else None
    cost = Cost(seconds, memory, WEIGHTS_ON_DISK * weights)
    say(f"training {settings.variant}: expected {cost}")
