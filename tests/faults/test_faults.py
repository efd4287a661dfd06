"""Faults of every kind: none loses finished work, none ends well with other bytes, none ends in a traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.damages import MEANS, TARGETS, flip, truncate, zeros
from tests.faults.place import Place
from tests.faults.run import KINDS, NEEDS_ROOT, Fault, chosen, table
from tests.faults.verdict import Outcome, Verdict, broke, differing, half_written
from tests.faults.warm import Ended

ROOT = Path(__file__).parents[2]
FAULTS = int(os.environ.get("SAMUNET_FAULTS", "60"))
GROUPS = {"killed": "kill ", "interrupted": "interrupt ", "without room": ("full disk", "file size limit"),
          "beside others": ("two at once", "worker killed"),
          "damaged": "damaged "}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> list[dict[str, str]]:
    """What became of `FAULTS` faults, in a process of its own: commands are forked from it."""
    file = tmp_path_factory.mktemp("faults") / "outcomes.json"
    command = [sys.executable, "-m", "tests.faults.run", "--faults", str(FAULTS), "--seed", "1", "--outcomes",
               str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert file.is_file(), done.stderr
    return json.loads(file.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
def test_faults_lose_nothing_and_change_nothing(group, outcomes):
    met = [outcome for outcome in outcomes if outcome["kind"].startswith(GROUPS[group])]
    assert met
    assert [outcome for outcome in met if outcome["verdict"] not in ("held", "rebuilt", "refused")] == []


def test_every_kind_is_chosen_and_the_seed_decides_which():
    faults = chosen(1000, 3)
    assert faults == chosen(1000, 3) != chosen(1000, 4)
    assert len(faults) == 1000 == len(set(faults))
    left_out = set() if os.geteuid() == 0 else set(NEEDS_ROOT)
    assert {fault.kind for fault in faults} == set(KINDS) - left_out
    assert len(KINDS) == 8 + len(TARGETS) * len(MEANS)


def test_the_table_counts_every_verdict_by_row():
    rows = table([(Fault("damaged plans: flipped", 1), Outcome(Verdict.REFUSED)),
                  (Fault("damaged plans: zeros", 2), Outcome(Verdict.WRONG)),
                  (Fault("two at once", 3), Outcome(Verdict.HELD))])
    assert rows["damaged plans"] == {"tried": 2, "held": 0, "rebuilt": 0, "refused": 1, "stray": 0, "lost": 0,
                                     "wrong": 1, "traceback": 0, "harness": 0}
    assert rows["two at once"]["held"] == 1


@pytest.mark.parametrize("code, err, sent, bad", [
    (0, "", (), False), (2, "error: no", (), False), (130, "interrupted", (), False),
    (-9, "", (signal.SIGKILL,), False), (-9, "", (), True),
    (1, "", (), True), (2, "Traceback (most recent call last):", (), True), (-11, "", (signal.SIGKILL,), True),
    (-9, "TIMEOUT after 1 s", (signal.SIGKILL,), True),
])
def test_an_internal_fault_is_seen(code, err, sent, bad):
    assert (broke(Ended(code, "", err, 0.0), sent) is not None) == bad


def test_other_bytes_a_missing_and_a_half_written_file_are_seen(tmp_path):
    place = Place(tmp_path, tmp_path)
    for name, text in (("a", "1"), ("b", "2")):
        place.path("out").mkdir(exist_ok=True)
        place.path("out", f"{name}.nii.gz").write_text(text)
    before = place.promised()
    assert differing(place, before) is None
    place.path("out", "a.nii.gz").write_text("x")
    assert differing(place, before) == "out/a.nii.gz differs"
    assert differing(place, before, ["out/a.nii.gz"]) is None
    assert half_written(place, before, before) == "out/a.nii.gz"
    assert half_written(place, before, place.promised()) is None
    place.path("out", "b.nii.gz").unlink()
    assert differing(place, before, ["out/a.nii.gz"]) == "out/b.nii.gz is missing"
    place.path("out", ".unfinished-c.nii.gz").write_text("x")
    assert place.stray() == ["out/.unfinished-c.nii.gz"]


def test_paths_in_results_do_not_count(tmp_path):
    digests = []
    for name in ("one", "two"):
        place = Place(tmp_path / name, tmp_path)
        place.path("out").mkdir(parents=True)
        place.path("out",
                   "summary.json").write_text(json.dumps({"prediction_file": str(place.path("out", "c.nii.gz")),
                                                          "Dice": 0.5}))
        digests.append(place.promised())
    assert digests[0] == digests[1]


def test_damage_is_of_its_kind():
    from random import Random

    content = bytes(range(100))
    flipped = flip(content, Random(1), False)
    assert len(flipped) == 100 and sum((a ^ b).bit_count() for a, b in zip(content, flipped, strict=True)) == 1
    with pytest.raises(UnicodeDecodeError):
        flip(b'{"a": 1}', Random(2), True).decode()
    shortened = truncate(content, Random(3), False)
    assert content.startswith(shortened) and 0 < len(shortened) < 100
    assert zeros(content, Random(4), False) == content[:50] + bytes(50)


def test_a_strike_meets_the_change_that_it_names(tmp_path):
    """Three files are written and renamed: change 3, counted from 0, is the rename of the second."""
    code = ("import os, sys, signal; sys.path.insert(0, {root!r}); from pathlib import Path; from tests.faults.strike "
            "import noted, strike\nhere = Path({here!r}); {prepare}()\n"
            "for name in 'abc':\n    (here / f't{{name}}').write_text('x'); os.replace(here / f't{{name}}', here / "
            "name)\n")
    here, notes = tmp_path / "here", tmp_path / "notes"
    here.mkdir()
    run = lambda prepare: subprocess.run([sys.executable, "-c",
                                          code.format(root=str(ROOT), here=str(here), prepare=prepare)], check=False)
    assert run(f"noted(here, Path({str(notes)!r}))").returncode == 0
    assert [line.split("\t")[0] for line in notes.read_text().splitlines()] == ["open", "os.rename"] * 3
    for path in here.iterdir():
        path.unlink()
    assert run("strike(here, 3, signal.SIGKILL)").returncode == -signal.SIGKILL
    assert sorted(path.name for path in here.iterdir()) == ["a", "tb"]
