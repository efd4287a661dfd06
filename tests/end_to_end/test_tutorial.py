"""Every command of the tutorial runs, one after the other, in one shell, as a reader would type them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pages import ROOT, blocks

TUTORIAL = ROOT / "documentation" / "tutorial" / "index.md"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(os.name == "nt", reason="the blocks are for a POSIX shell")
def test_the_tutorial_runs(tmp_path: Path) -> None:
    commands = blocks(TUTORIAL.read_text(encoding="utf-8"), "bash")
    scripts = Path(sys.executable).parent
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", "\n".join(commands)],
        cwd=tmp_path,
        check=False,
        env=os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    results = tmp_path / "demo_output" / "Dataset900_Phantom" / "results" / "Dataset900_Phantom"
    assert (
        results / "cnn_head__samunetPlans__mini-3" / "shots3_draw0" / "fold_0" / "validation" / "summary.json"
    ).is_file()
    assert (tmp_path / "predictions" / "metrics.json").is_file() and list((tmp_path / "overlays").glob("*.png"))
    assert (results / "benchmark" / "summary.md").is_file() and list((results / "choice").glob("*.json"))
