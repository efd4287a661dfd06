"""Every command of the tutorial runs, one after the other, in one shell, as a reader would type them.

Four things are shorter: commands have no start-up time (tests/helpers/warm_server.py); trainings have 5 iterations;
volumes have a third of the slices, one view of each case and a quarter of the pixels for the encoder; and the dataset
is written without the demo's own steps, which `test_demo.py` runs.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import small_phantom
from pages import ROOT, blocks
from warm_server import WarmServer

TUTORIAL = ROOT / "documentation" / "tutorial" / "index.md"
# One view of each of 3 training cases of at most 10 slices; what the choice trains at last has the plan's iterations.
SHORTEN = (
    f"python {small_phantom.__file__} $samunet_preprocessed/*/samunetPlans.json input_size=128 "
    "view_pictures=30 head_iterations=5"
)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="the blocks are for a POSIX shell")
def test_the_tutorial_runs(tmp_path: Path, warm_server: WarmServer) -> None:
    demo, *commands = blocks(TUTORIAL.read_text(encoding="utf-8"), "bash")
    assert demo == "samunet_demo\n" and len(commands) == 8
    work = tmp_path / "demo_output" / "Dataset900_Phantom"
    small_phantom.small_phantom(work / "raw", cases=6)
    paths, plan, *others = re.sub(r"--iterations \d+", "--iterations 5", "\n\0".join(commands)).split("\0")
    script = "\n".join([paths, plan, SHORTEN, *others])
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=tmp_path,
        check=False,
        env=os.environ | {"PATH": f"{warm_server.write_scripts(tmp_path / 'bin')}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    results = work / "results" / "Dataset900_Phantom"
    [fold] = results.glob("linear_head__samunetPlans__mini-3/shots3_draw0/fold_0")
    assert (fold / "validation" / "summary.json").is_file()
    assert (tmp_path / "predictions" / "metrics.json").is_file() and list((tmp_path / "overlays").glob("*.png"))
    assert (results / "benchmark" / "summary.md").is_file() and list((results / "choice").glob("*.json"))
