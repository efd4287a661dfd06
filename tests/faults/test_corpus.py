"""The corpus of bad input: refused with the file named, or used rightly; never a traceback, never in silence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.corpus import entries, share

ROOT = Path(__file__).parents[2]
ENTRIES = int(os.environ.get("SAMUNET_CORPUS", "100"))  # 0: all of them, minutes


@pytest.fixture(scope="module")
def findings(tmp_path_factory) -> list[dict[str, str]]:
    """What commands made of `ENTRIES` entries, in a process of its own: commands are forked from it."""
    file = tmp_path_factory.mktemp("corpus") / "findings.json"
    command = [sys.executable, "-m", "tests.faults.corpus", "--entries", str(ENTRIES), "--findings", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert file.is_file(), done.stderr
    return json.loads(file.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("verdict", ["traceback", "wrong", "accepted", "unclear", "false alarm", "stray"])
def test_bad_input_is_refused_or_used_rightly(verdict, findings):
    assert [finding for finding in findings if finding["verdict"] == verdict] == []


def test_the_corpus_is_broad_and_every_entry_has_its_own_name():
    every = entries()
    assert len({(entry.group, entry.name, entry.commands) for entry in every}) == len(every) >= 1000
    assert all(entry.commands and (entry.words is not None or entry.check is not None) for entry in every)


def test_a_share_meets_every_group_and_the_seed_decides_which():
    groups = {entry.group for entry in entries()}
    assert {entry.group for entry in share(100, 1)} == groups
    names = [[(entry.group, entry.name) for entry in share(100, seed)] for seed in (1, 1, 2)]
    assert names[0] == names[1] != names[2] and len(names[0]) == 100
