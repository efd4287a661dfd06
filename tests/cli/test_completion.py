"""Completion: what a shell is given for a command line that has been typed in part."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from samunet.variants.registry import VARIANTS


def completed(line: str, folder: Path) -> list[str]:
    """The words that complete `line`, as argcomplete's shell function receives them."""
    answer, (command, *_) = folder / "answer", line.split()
    asked = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
             "COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_COMP_WORDBREAKS": ""}
    code = f"from samunet.cli.entry import {command.removeprefix('samunet_')} as command; command()"
    subprocess.run([sys.executable, "-c", code], env=os.environ | asked, check=True, cwd=folder)
    return [word.strip() for word in answer.read_text().split("\n")]


@pytest.mark.parametrize(("line", "words"), [
    ("samunet_train 4 cnn", ["cnn_head"]),
    ("samunet_train 4 ", sorted(VARIANTS)),
    ("samunet_train 4 unet 0 --ite", ["--iterations"]),
    ("samunet_train 4 unet 0 --oracle_prompts box3", ["box3d"]),
    ("samunet_info --j", ["--json"]),
    ("samunet_predict -i images -v lo", ["lora"]),
])
def test_a_line_is_completed(tmp_path: Path, line: str, words: list[str]) -> None:
    assert sorted(set(completed(line, tmp_path)) & {*words, *VARIANTS}) == sorted(words)
