"""The job's commands one after another, undisturbed: the state before and after each, and how long each takes."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from tests.faults.place import Place, write_encoder, write_raw
from tests.faults.strike import noted, strike
from tests.faults.warm import run

ITERATIONS = "51"  # the state is saved at 50
PROMPTS = {"space": "voxel",
           "cases": {"c6": {"A": {"points": [[6, 6, 3]]}, "B": {"boxes": [{"min": [9, 12, 2], "max": [13, 16, 4]}]}},
                                       "c7": {"A": {"points": [[6, 6, 2], [7, 7, 3]]}}}}
# In the order in which they are run; each has a command below.
STAGES = ("plan", "fit", "train", "zeroshot", "predict", "ask", "evaluate")


def command_of(stage: str, place: Place, *more: str) -> tuple[str, ...]:
    """A stage's command, with further flags."""
    images, labels = str(place.dataset / "imagesTs"), str(place.dataset / "labelsTs")
    common = ("--encoder", str(place.encoder), "-np", "1")
    training = (*common, "-device", "cpu")
    commands = {
        "plan": ("plan_and_preprocess", "-d", "5", *common),
        "fit": ("train", "5", "label_prior", "0", *training),
        "train": ("train", "5", "probe", "0", "--iterations", ITERATIONS, *training),
        "zeroshot": ("train", "5", "sam_zeroshot", "0", "--oracle_prompts", *training),
        "predict": ("predict", "-i", images, "-o", str(place.path("out")), "-d", "5", "-v", "probe", "--encoder",
                    str(place.encoder), "-device", "cpu"),
        "ask": ("predict", "-i", images, "-o", str(place.path("out_asked")), "-d", "5", "-v", "sam_zeroshot",
                "--encoder", str(place.encoder),
                "-device", "cpu", "--prompts", str(place.path("prompts.json"))),
        "evaluate": ("evaluate_folder", labels, str(place.path("out")), "-djfile", str(place.dataset / "dataset.json"),
                     "-np", "1"),
    }
    return (*commands[stage], *more)


@dataclass(frozen=True)
class Step:
    """One undisturbed command: the places before and after it, its promised files, duration, and changes of files."""

    before: Place
    after: Place
    promised: dict[str, str]
    seconds: float
    changes: tuple[str, ...]

    @property
    def written_bytes(self) -> int:
        """How much more the place holds after the command."""
        return max(_size(self.after.root) - _size(self.before.root), 0)


@dataclass(frozen=True)
class Job:
    """The undisturbed job. `unfinished` is the place of a training that was killed just after its state was saved."""

    steps: dict[str, Step]
    unfinished: Place

    @property
    def done(self) -> Place:
        return self.steps[STAGES[-1]].after

    @property
    def promised(self) -> dict[str, str]:
        return self.steps[STAGES[-1]].promised


def undisturbed(folder: Path) -> Job:
    """Run the job below `folder`; every command must end well."""
    place = Place(folder / "start", write_encoder(folder / "small.safetensors"))
    write_raw(place.path("raw"))
    place.path("prompts.json").write_text(json.dumps(PROMPTS))
    steps: dict[str, Step] = {}
    for stage in STAGES:
        after = place.copied(folder / stage)
        notes = folder / f"{stage}.notes"
        ended = run(command_of(stage, after), after.environment, noted(after.root, notes))
        assert ended.code == 0, f"{stage}: {ended.err}"
        steps[stage] = Step(place, after, after.promised(), ended.seconds, tuple(notes.read_text().splitlines()))
        place = after
    return Job(steps, _unfinished(steps["train"], folder / "unfinished"))


def _unfinished(train: Step, root: Path) -> Place:
    place = train.before.copied(root)
    saved = next(number
                 for number, change in enumerate(train.changes) if change.startswith("os.rename")
                 and "checkpoint_latest" in change)
    ended = run(command_of("train", place), place.environment, strike(place.root, saved + 1, signal.SIGKILL))
    assert ended.code == -signal.SIGKILL, ended
    assert list(place.path("results").rglob("checkpoint_latest*"))
    return place


def _size(folder: Path) -> int:
    return sum(os.path.getsize(Path(parent, name)) for parent, _, names in os.walk(folder) for name in names)
