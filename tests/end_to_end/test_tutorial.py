"""Every command of the tutorial runs, one after the other, in one shell, as a reader would type them.

Two things are shorter: trainings have 5 iterations, and the dataset is written without the demo's own steps, which
`test_demo.py` runs.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pages import ROOT, blocks

from samunet.dataset.phantom import make_phantom_dataset

TUTORIAL = ROOT / "documentation" / "tutorial" / "index.md"


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="the blocks are for a POSIX shell")
def test_the_tutorial_runs(tmp_path: Path) -> None:
    demo, *commands = blocks(TUTORIAL.read_text(encoding="utf-8"), "bash")
    assert demo == "samunet_demo\n" and len(commands) == 8
    work = tmp_path / "demo_output" / "Dataset900_Phantom"
    make_phantom_dataset(work / "raw", cases=6)
    script = re.sub(r"--iterations \d+", "--iterations 5", "\n".join(commands))
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=tmp_path,
        check=False,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    results = work / "results" / "Dataset900_Phantom"
    [fold] = results.glob("linear_head__samunetPlans__mini-3/shots3_draw0/fold_0")
    assert (fold / "validation" / "summary.json").is_file()
    assert (tmp_path / "predictions" / "metrics.json").is_file() and list((tmp_path / "overlays").glob("*.png"))
    assert (results / "benchmark" / "summary.md").is_file() and list((results / "choice").glob("*.json"))
