"""The request for a training run, and the settings that it resolves to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from samunet.errors import UserError, joined
from samunet.planning.plans import require_plans_name
from samunet.preprocessing.prompts.kinds import places_of
from samunet.variants.registry import check_kinds, check_prompts, check_support, is_known, stored_as

ITERATIONS_PER_EPOCH = 50
"""The interval at which a run logs and saves its state; the unit of --epochs."""


@dataclass(frozen=True)
class Request:
    """The flags of `samunet_train`, checked.

    Arguments:
        dataset: id or full name.
        variant: a name of the registry; becomes the name under which runs of its `settings` are stored.
        fold: a number of the splits file, or `all`.
        encoder: as given on the command line, so that it can be loaded again.
        plans_name: which plans file.
        iterations: optimiser steps; None takes the plan's.
        minutes: training time to spend, turned into an iteration count by measuring; excludes `iterations`.
        shots: labelled cases to use, or None for all of the fold's.
        draw: which draw of `shots` cases, and in which order they are dealt `shot_slices`.
        seed: of weights and batches.
        pretrained_weights: a checkpoint of the same kind of network to start from.
        device: torch's device name.
        probabilities: whether validation also writes class probabilities.
        prompts: a prompts file for the validation cases; excludes `oracle_prompts`.
        oracle_prompts: the kind of prompts that validation takes from its own cases' labels; None takes none.
        box_relax: percent of a box's extent by which each side of an oracle's boxes lies farther out; None, as 0,
            leaves them tight.
        inner: which inner fold of the run's own labelled cases is held out and validated on in place of the fold's
            validation cases (see `cases.cases_of`); None holds out none.
        validate: False leaves the fold's validation cases alone; not even their digests are read.
        shot_slices: labelled slices to use over all of these cases, see `planning.shots.choose_slices`; None uses all.
        support: a file that names the labelled slices that ask, see `support_file`; None chooses them.
        settings: of the variant, by name, in place of its defaults.
        loggers: names of loggers that get the lines of the training log, see `loggers.makers_of`.
    """

    dataset: str
    variant: str
    fold: str
    encoder: str
    plans_name: str
    iterations: int | None = None
    minutes: float | None = None
    shots: int | None = None
    draw: int = 0
    seed: int = 0
    pretrained_weights: Path | None = None
    device: str = "cpu"
    probabilities: bool = False
    prompts: Path | None = None
    oracle_prompts: str | None = None
    inner: int | None = None
    validate: bool = True
    shot_slices: int | None = None
    box_relax: float | None = None
    support: Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    loggers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        rules = [
            (
                self.iterations is None or self.iterations >= 1,
                "The number of iterations must be 1 or more.",
                self.iterations,
            ),
            (self.minutes is None or self.minutes > 0, "The minutes to train must be above 0.", self.minutes),
            (
                self.iterations is None or self.minutes is None,
                "Only one of iterations and minutes may be set.",
                f"{self.iterations} and {self.minutes}",
            ),
            (self.shots is None or self.shots >= 1, "The number of shots must be 1 or more.", self.shots),
            (
                self.shot_slices is None or self.shot_slices >= 1,
                "The number of labelled slices must be 1 or more.",
                self.shot_slices,
            ),
            (self.draw >= 0, "The draw must be 0 or more.", self.draw),
            (self.seed >= 0, "The seed must be 0 or more.", self.seed),
            (
                self.prompts is None or self.oracle_prompts is None,
                "Only one of a prompts file and oracle prompts may be given.",
                f"{self.prompts} and {self.oracle_prompts}",
            ),
            (
                self.box_relax is None or 0 <= self.box_relax < math.inf,
                "Boxes are relaxed by 0 percent or more.",
                self.box_relax,
            ),
            (
                self.box_relax is None
                or (self.oracle_prompts is not None and places_of(self.oracle_prompts) == "boxes"),
                "Boxes can be relaxed where an oracle gives boxes.",
                f"--box_relax with oracle prompts {self.oracle_prompts}",
            ),
            (self.fold == "all" or self.fold.isdecimal(), "The fold must be a number or `all`.", self.fold),
        ]
        problems = [UserError(rule, where="command line", found=str(found)) for kept, rule, found in rules if not kept]
        if problems:
            raise joined(problems)
        require_plans_name(self.plans_name)
        if is_known(self.variant):  # nnU-Net's are jobs of the benchmark alone
            name, settings = stored_as(self.variant, self.settings)
            object.__setattr__(self, "variant", name)
            object.__setattr__(self, "settings", settings)
            check_prompts(self.variant, self.prompts is not None or self.oracle_prompts is not None)
            if self.oracle_prompts is not None:
                check_kinds(self.variant, [places_of(self.oracle_prompts)], "--oracle_prompts")
            check_support(self.variant, self.support is not None)


# Settings added later; older runs are assumed to match, so that they need not be trained again.
UNTOLD_BEFORE = ("labels", "unlabelled", "variant_settings")


@dataclass(frozen=True)
class Settings:
    """Everything that decides a run's weights; two runs of equal settings end with the same ones.

    Arguments:
        dataset, plans: full names.
        encoder: encoder id.
        iterations: optimiser steps; None only while `minutes` has not been measured yet, 0 for comparators.
        batch_size, learning_rate, weight_decay: 0 for comparators.
        pretrained_weights: SHA-256 of the file, or None.
        encoder_digest: SHA-256 of the encoder's weights, None for comparators.
        plan: SHA-256 over the dataset's and the encoder's section of the plans.
        data: SHA-256 over names and arrays of the training and validation cases; of no validation cases where none are
            read.
        prompts: SHA-256 of the prompts file and of the masks that it names, or None.
        oracle_prompts: kind of the prompts that were taken from the validation cases' own labels; None: no oracle.
        box_relax: percent by which those that are boxes were enlarged on each side; None: not at all.
        inner: number of the inner fold that was held out; None: none was.
        shot_slices: labelled slices that were used; None: all of the training cases.
        support: SHA-256 of the file that names the slices that ask, or None.
        labels: SHA-256 over what dataset.json makes of label values: classes or regions, the ignore label, the order of
            painting.
        unlabelled: SHA-256 over names and images of the unlabelled cases, where the variant learns from them, or None.
        variant_settings: all settings of the variant.
        changed_settings: those of them that are neither defaults nor implied by the variant's name; None: there are
            none.
    """

    dataset: str
    variant: str
    fold: str
    plans: str
    encoder: str
    iterations: int | None
    minutes: float | None
    batch_size: int
    learning_rate: float
    weight_decay: float
    seed: int
    shots: int | None
    draw: int
    pretrained_weights: str | None
    device: str
    encoder_digest: str | None
    plan: str
    data: str
    prompts: str | None = None
    oracle_prompts: str | None = None
    inner: int | None = None
    shot_slices: int | None = None
    box_relax: float | None = None
    support: str | None = None
    labels: str | None = None
    unlabelled: str | None = None
    variant_settings: dict[str, Any] | None = None
    changed_settings: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """The settings as run.json holds them."""
        return asdict(self)

    def differences(self, stored: Mapping[str, Any]) -> list[str]:
        """One line for each setting that differs from a `stored` run's, `name: theirs there, ours here`.

        A run whose length is given in minutes keeps the iteration count measured when it began, and the batch that was
        chosen for it.
        """
        ours = self.to_json()
        if self.minutes is not None and stored.get("minutes") == self.minutes:
            ours |= {name: stored.get(name) for name in ("iterations", "batch_size")}
        names = [
            *(name for name in ours if name in stored or name not in UNTOLD_BEFORE),
            *(name for name in stored if name not in ours),
        ]
        return [f"{name}: {stored.get(name)} there, {ours.get(name)} here"
                for name in names if stored.get(name) != ours.get(name)]


def settings_text(changed: Mapping[str, Any] | None) -> str:
    """Settings of a variant as `--set` takes them."""
    return ", ".join(f"{name}={value}" for name, value in changed.items()) if changed else "default settings"
