"""`import samunet` imports nothing else; its names come when they are used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIGHT = """
import sys
before = set(sys.modules)
import samunet
assert {name for name in sys.modules if name.startswith("samunet")} == {"samunet"}
heavy = {"torch", "numpy", "scipy", "SimpleITK", "rich", "msgspec"}
print(*sorted(heavy & set(sys.modules)), len(set(sys.modules) - before))
assert {"plan", "preprocess", "train", "Predictor", "evaluate", "benchmark", "Session"} <= set(dir(samunet))
"""
ROOM = """
import samunet
import samunet.benchmarking.ladder
assert callable(samunet.benchmark) and samunet.benchmarking.ladder.LADDER
from samunet import benchmark
assert benchmark is samunet.benchmark
try:
    samunet.picture
except AttributeError as fault:
    print(fault)
"""


def test_import_is_light() -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True, cwd=ROOT)
    [count] = done.stdout.split()  # no heavy module before it
    assert int(count) < 40


def test_the_function_benchmark_and_the_room_of_its_name_are_both_there() -> None:
    done = subprocess.run([sys.executable, "-c", ROOM], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "module 'samunet' has no attribute 'picture'\n"
