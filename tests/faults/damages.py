"""Damage to files that commands wrote: bits flipped, cut off, emptied, removed. Then the commands that read them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.faults.job import STAGES, Job, command_of
from tests.faults.place import Place
from tests.faults.verdict import Outcome, Verdict, broke, differing, said
from tests.faults.warm import Ended, run


@dataclass(frozen=True)
class Target:
    """A kind of file.

    Arguments:
        pattern: which files of the place.
        readers: the stages whose commands read or rewrite it, in the order of the job.
        unfinished: in the place of a training that was killed, not of the finished job.
        editable: people may write it by hand, so a flip that makes another sound file is no damage; only the bits that
            no text has are flipped.
        result: its own bytes are promised, so it may not stay damaged under exit 0.
        more: further flags of the readers' commands.
    """

    pattern: str
    readers: tuple[str, ...]
    unfinished: bool = False
    editable: bool = False
    result: bool = False
    more: tuple[str, ...] = ()


MODEL, TRIAL = "results/*/probe__*", "results/*/probe__*/fold_0.unfinished"
TARGETS = {
    "fingerprint": Target("preprocessed/*/dataset_fingerprint.json", ("plan", "fit")),
    "plans": Target("preprocessed/*/samunetPlans.json", ("plan", "fit"), editable=True),
    "splits": Target("preprocessed/*/splits_final.json", ("plan", "fit"), editable=True),
    "copy of dataset.json": Target("preprocessed/*/dataset.json", ("fit",), editable=True),
    "array": Target("preprocessed/*/*/arrays/*.b2nd", ("plan", "fit", "train")),
    "properties of an array": Target("preprocessed/*/*/arrays/*.json", ("plan", "fit", "train")),
    "copy of a label": Target("preprocessed/*/gt_segmentations/*", ("fit",)),
    "embedding": Target("preprocessed/*/*/embeddings/*/*.npy", ("plan", "train")),
    "signature of an embedding": Target("preprocessed/*/*/embeddings/*/*.json", ("plan", "train")),
    "latest checkpoint": Target(f"{TRIAL}/checkpoint_latest.safetensors", ("train",), unfinished=True),
    "run.json, unfinished": Target(f"{TRIAL}/run.json", ("train",), unfinished=True),
    "log": Target(f"{TRIAL}/log.jsonl", ("train",), unfinished=True),
    "label statistics, unfinished": Target(f"{TRIAL}/label_statistics.json", ("train",), unfinished=True),
    "label statistics": Target(f"{MODEL}/fold_0/label_statistics.json", ("predict",)),
    "final checkpoint": Target(f"{MODEL}/fold_0/checkpoint_final.safetensors", ("predict",)),
    "run.json": Target(f"{MODEL}/fold_0/run.json", ("predict",)),
    "plans of a model": Target(f"{MODEL}/plans.json", ("predict",), editable=True),
    "dataset.json of a model": Target(f"{MODEL}/dataset.json", ("predict",), editable=True),
    "fingerprint of a model": Target(f"{MODEL}/dataset_fingerprint.json", ("predict",)),
    "prediction": Target("out/*.nii.gz", ("predict", "evaluate"), result=True, more=("--continue_prediction",)),
    "prediction, evaluated": Target("out/*.nii.gz", ("evaluate",)),
    "scores": Target("out/*s.json", ("evaluate",)),
    "prompts": Target("prompts.json", ("ask",), editable=True),
}


def flip(content: bytes, random: Random, editable: bool) -> bytes:
    """One bit is the other; in a file for people the highest of a byte, which no text has set."""
    changed = bytearray(content)
    changed[random.randrange(len(changed))] ^= 128 if editable else 1 << random.randrange(8)
    return bytes(changed)


def truncate(content: bytes, random: Random, editable: bool) -> bytes:
    """The end is missing."""
    return content[: random.randrange(1, max(len(content) - 1, 2))]


def empty(content: bytes, random: Random, editable: bool) -> bytes:
    """Nothing is left."""
    return b""


def zeros(content: bytes, random: Random, editable: bool) -> bytes:
    """As long as it was, and the second half zero: a page that never reached the disk."""
    half = len(content) // 2
    return content[:half] + bytes(len(content) - half)


MEANS: dict[str, Callable[[bytes, Random, bool], bytes]] = {"flipped": flip, "cut off": truncate, "emptied": empty,
                                                            "zeros": zeros}


def damage(name: str, means: str, job: Job, root: Path, random: Random) -> Outcome:
    """Damage one file of kind `name` and give the commands that read it; where one refuses, follow its remedy."""
    target = TARGETS[name]
    place = (job.unfinished if target.unfinished else job.done).copied(root)
    path = random.choice(sorted(place.root.glob(target.pattern)))
    sound = path.read_bytes()
    path.write_bytes(MEANS[means](sound, random, target.editable))
    told = f"{path.relative_to(place.root)} {means}"
    for stage in target.readers:
        ended = run(command_of(stage, place, *(target.more if stage in ("predict", "ask") else ())), place.environment)
        if reason := broke(ended):
            return Outcome(Verdict.TRACEBACK, f"{told}, {stage}: {reason}")
        if ended.code == 2:
            return _remedied(job, target, place, path, sound, ended, f"{told}, {stage}: {said(ended)}")
    return _judged(job, target, place, path, sound, told)


def _judged(job: Job, target: Target, place: Place, path: Path, sound: bytes, told: str) -> Outcome:
    """All commands have succeeded: the results must be the same, and what is still damaged must not have been used."""
    whole = path.is_file() and path.read_bytes() == sound
    own = str(path.relative_to(place.root))
    expected = job.steps["train"].promised if target.unfinished else job.promised
    # A stored cache or copy that stays damaged is held only where the results that follow from it are the same.
    ignored = [own] if not target.result and not whole else []
    if reason := differing(place, expected, ignored):
        return Outcome(Verdict.WRONG, f"{told}: {reason}")
    return Outcome(Verdict.REBUILT if whole else Verdict.HELD, told)


def _remedied(job: Job, target: Target, place: Place, path: Path, sound: bytes, ended: Ended, told: str) -> Outcome:
    """The message must name the file or its folder.

    With the file (of a run: its folder) removed, the job must restore everything.
    """
    if not any(name in ended.err for name in (path.name, path.stem.split(".")[0], str(path.parent))):
        return Outcome(Verdict.LOST, f"{told} (the file is not named)")
    run_folder = next((parent for parent in path.parents if parent.name.startswith("fold_0")), None)
    if place.path("prompts.json") == path:
        path.write_bytes(sound)
    elif run_folder:
        shutil.rmtree(run_folder)
    else:
        path.unlink()
    stages = STAGES[: STAGES.index("train") + 1] if target.unfinished else STAGES
    for stage in stages:
        again = run(command_of(stage, place, *(target.more if stage in ("predict", "ask") else ())), place.environment)
        if reason := broke(again):
            return Outcome(Verdict.TRACEBACK, f"{told}; then {stage}: {reason}")
        if again.code:
            return Outcome(Verdict.LOST, f"{told}; then {stage}: {said(again)}")
    if reason := differing(place, job.steps[stages[-1]].promised):
        return Outcome(Verdict.WRONG, f"{told}; then {reason}")
    return Outcome(Verdict.REFUSED, told)
