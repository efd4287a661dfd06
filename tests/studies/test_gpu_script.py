"""studies/gpu.sh: its commands parse, in full and in rehearsal, and a part that fails does not stop the others."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from samunet.cli import benchmark, plan_and_preprocess, pretrain_encoder
from samunet.pretraining.recipe import Phase

SCRIPT = Path(__file__).parents[2] / "studies" / "gpu.sh"
COMMANDS = {"samunet_plan_and_preprocess": plan_and_preprocess, "samunet_benchmark": benchmark,
            "samunet_pretrain_encoder": pretrain_encoder}
pytestmark = pytest.mark.skipif(shutil.which("bash") is None or os.name == "nt", reason="needs bash")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {name: value for name, value in os.environ.items() if name not in ("REHEARSAL", "PRINT", "OUT")}
    return subprocess.run(["bash", str(SCRIPT), *arguments], env={**given, "PYTHON": sys.executable, **environment},
                          capture_output=True, text=True, check=False)


def printed(**environment: str) -> list[tuple[int, list[str]]]:
    lines = run("-o", "out", PRINT="1", **environment).stdout.splitlines()
    return [(int(limit), command.split()) for limit, command in (line.split("\t") for line in lines)]


@pytest.mark.parametrize("environment", [{}, {"REHEARSAL": "1"}], ids=["card", "rehearsal"])
def test_every_command_parses(
    environment: dict[str, str], script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = set()
    for _, (program, *arguments) in printed(**environment):
        name = Path(program).name
        if name in COMMANDS:
            options = COMMANDS[name].parser().parse_args(arguments)
            for phase in getattr(options, "phases", ()):
                Phase.parse(phase)
        elif arguments[0].startswith("studies/"):
            name = Path(arguments[0]).stem
            monkeypatch.setattr(sys, "argv", arguments)
            script(name).parsed()
        elif arguments[:2] == ["-m", "pytest"]:
            name = "pytest"
            assert "tests/training/test_trainer.py" in arguments
            assert all((SCRIPT.parents[1] / each).is_file() for each in arguments if each.startswith("tests/"))
        else:
            name = "phantom"
        seen.add(name)
    assert seen == {"pytest", "encoder_speed", "train_step", *COMMANDS} | ({"phantom"} if environment else set())


def test_all_limits_together_are_under_twelve_minutes() -> None:
    commands = printed()
    assert len(commands) == 7
    assert sum(limit for limit, _ in commands) < 12 * 60


def test_a_part_that_fails_is_recorded_and_the_next_runs(tmp_path: Path) -> None:
    done = run("-o", str(tmp_path), "encode", "steps", REHEARSAL="1", PYTHON="/bin/false")
    assert done.returncode == 1
    rows = [line.split("\t") for line in (tmp_path / "parts.tsv").read_text().splitlines()]
    assert [(part, status) for part, _, status in rows] == [("encode", "1"), ("steps", "1")]


def test_wrong_calls_say_what_is_missing(tmp_path: Path) -> None:
    assert (run().returncode, run().stderr) == (2, "gpu.sh: give the output folder with -o, or in OUT\n")
    assert run("-o", str(tmp_path)).stderr == "gpu.sh: give the raw dataset with -d\n"
    assert run("-o", str(tmp_path), "other", REHEARSAL="1").stderr == "gpu.sh: no part other\n"
