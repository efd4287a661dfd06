"""An entry of the corpus of bad input: how it is made, which commands meet it, and what is right."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from tests.faults.place import DATASET, Place
from tests.faults.verdict import broke, said
from tests.faults.warm import Ended, run

Check = Callable[[Place, Place, str], str | None]
"""`check(place, base, command)`: what is wrong with the results of a command that ended well, or None.

`base` is the place without bad input.
"""


@dataclass(frozen=True)
class Entry:
    """One bad input.

    Arguments:
        group: for the table.
        name: says what is bad.
        make: puts it into a copied place.
        commands: names of `commands_at`; or whole commands, where flags are what is bad.
        words: what a refusal must say, in any case of letters, `a|b` one of two; None: refusing it is a false alarm.
        check: what must hold where it is accepted; None: accepting it is silent use of bad input.
        base: which prepared place it is put into.
        warns: a warning with the words of a refusal is as good as one: what is passed over, or used though it is odd,
            is named.
    """

    group: str
    name: str
    make: Callable[[Place], object]
    commands: tuple[str | tuple[str, ...], ...]
    words: tuple[str, ...] | None = ()
    check: Check | None = None
    base: str = "volumes"
    warns: bool = False


GOOD = ("right", "refused", "warned")


@dataclass(frozen=True)
class Finding:
    """What one command made of an entry: `right`, `refused`, `warned`, or what is wrong."""

    entry: str
    command: str
    verdict: str
    detail: str

    @property
    def good(self) -> bool:
        return self.verdict in GOOD


def commands_at(place: Place) -> dict[str, tuple[str, ...]]:
    """The commands that meet files, by name."""
    test, labels = str(place.dataset / "imagesTs"), str(place.dataset / "labelsTs")
    model = ("--encoder", str(place.encoder), "-device", "cpu")
    return {
        "plan": ("plan_and_preprocess", "-d", "5", "--no_embeddings", "--encoder", str(place.encoder), "-np", "1"),
        "embed": ("plan_and_preprocess", "-d", "5", "--encoder", str(place.encoder), "-np", "1"),
        "verify": ("extract_fingerprint", "-d", "5", "--verify_dataset_integrity", "-np", "1"),
        "preprocess": ("preprocess", "-d", "5", "--no_embeddings", "-np", "1"),
        "fit": ("train", "5", "label_prior", "0", *model, "-np", "1"),
        "train": ("train", "5", "probe", "0", "--iterations", "1", *model, "-np", "1"),
        "validate": ("train", "5", "label_prior", "0", "--val", *model, "-np", "1"),
        "predict": ("predict", "-i", test, "-o", str(place.path("out_new")), "-d", "5", "-v", "label_prior", *model),
        "continue": ("predict", "-i", test, "-o", str(place.path("out")), "-d", "5", "-v", "label_prior",
                     "--continue_prediction", *model),
        "predict_probe": ("predict", "-i", test, "-o", str(place.path("out_new")), "-d", "5", "-v", "probe", *model),
        "predict_last": ("predict", "-i", test, "-o", str(place.path("out_new")), "-d", "5", *model),
        "ask": ("predict", "-i", test, "-o", str(place.path("out_new")), "-d", "5", "-v", "sam_zeroshot", *model,
                "--prompts",
                str(place.path("prompts.json"))),
        "validate_asked": ("train", "5", "sam_zeroshot", "0", "--prompts", str(place.path("prompts.json")), *model,
                           "-np", "1"),
        "evaluate": ("evaluate_folder", labels, str(place.path("out")), "-djfile", str(place.dataset / "dataset.json"),
                     "-np", "1"),
        "overlay": ("plot_overlay_pngs", "-i", test, "-s", str(place.path("out")), "-r", labels, "-o",
                    str(place.path("png")),
                    "-djfile", str(place.dataset / "dataset.json"), "-np", "1"),
        "overlay_raw": ("plot_overlay_pngs", "-d", "5", "-o", str(place.path("png")), "-np", "1"),
        "cache_list": ("cache", "list", "-d", "5"),
        "cache_verify": ("cache", "verify", "-d", "5"),
        "info": ("info",),
        "support": ("train", "5", "fewshot", "0", "--iterations", "1", "--support", str(place.path("support.json")),
                    *model, "-np", "1"),
    }


def try_entry(entry: Entry, base: Place, root: Path) -> list[Finding]:
    """Give each command a damaged copy of `base` at `root`: what one has rebuilt, another would not read."""
    findings = []
    for each in entry.commands:
        place = base.copied(root)
        entry.make(place)
        name, command = (each, commands_at(place)[each]) if isinstance(each, str) else (each[0], each)
        raw = _state(place.path("raw"))
        verdict, detail = judged(entry, place, base, name, run(command, place.environment, partial(os.chdir, root)))
        if verdict in GOOD and _state(place.path("raw")) != raw:
            verdict, detail = "wrong", "the raw files were changed"
        elif verdict == "refused" and (stray := [path for path in place.stray()
                                                 if not re.search(r"/fold_\w+\.unfinished$", path)]):
            verdict, detail = "stray", ", ".join(stray[:3])
        findings.append(Finding(f"{entry.group}: {entry.name}", name, verdict, detail))
    return findings


def judged(entry: Entry, place: Place, base: Place, command: str, ended: Ended) -> tuple[str, str]:
    """Verdict and detail of one command's end."""
    if reason := broke(ended):
        return "traceback", reason
    missing = [word for word in entry.words or ()
               if not any(part in ended.err.lower() for part in word.lower().split("|"))]
    if ended.code == 0:
        reason = entry.check(place, base, command) if entry.check else "exit 0 without a refusal"
        if reason and entry.warns and not missing and "warning" in ended.err.lower():
            return "warned", ""
        return ("wrong" if entry.check else "accepted", reason) if reason else ("right", "")
    if entry.words is None:
        return "false alarm", said(ended)
    return ("unclear", f"the message lacks {missing}: {said(ended)}") if missing else ("refused", said(ended))


def anything(place: Place, base: Place, command: str) -> str | None:
    """Where no value can be named: that the command ends well is all."""
    return None


def same_prediction(place: Place, base: Place, command: str) -> str | None:
    """What label_prior predicts does not depend on the images' values: the voxels are those without bad input."""
    if command not in ("predict", "predict_last"):
        return None
    for path in sorted(base.path("out_prior").glob("*.nii.gz")):
        made = place.path("out_new", path.name)
        if not made.is_file():
            return f"{path.name} is missing"
        if voxels(made).tobytes() != voxels(path).tobytes():
            return f"{path.name} has other voxels"
    return None


def same_score(place: Place, base: Place, command: str) -> str | None:
    """The mean Dice is that without bad input."""
    if command != "evaluate":
        return None
    ours, theirs = (json.loads(each.path("out", "summary.json").read_text())["foreground_mean"]["Dice"]
                    for each in (place, base))
    return None if ours == theirs else f"Dice {ours}, not {theirs}"


def all_of(*checks: Check) -> Check:
    """The first complaint of several checks."""

    def check(place: Place, base: Place, command: str) -> str | None:
        return next((reason for each in checks if (reason := each(place, base, command))), None)

    return check


def voxels(path: Path) -> np.ndarray:
    """The bytes behind a NIfTI header, as they are in the file."""
    return np.frombuffer(gzip.decompress(path.read_bytes())[352:], np.uint8)


def preprocessed(place: Place, *parts: str) -> Path:
    return place.path("preprocessed", DATASET, *parts)


def edit_json(path: Path, change: Callable[[dict], object]) -> None:
    """Replace a JSON file by what `change` returns, or by its content after `change` where that returns None."""
    content = json.loads(path.read_text())
    changed = change(content)
    path.write_text(json.dumps(content if changed is None else changed))


def _state(folder: Path) -> Sequence[tuple[str, int, int]]:
    return [(str(path), path.lstat().st_mtime_ns, path.lstat().st_size) for path in sorted(folder.rglob("*"))
            if not path.is_dir()]
