"""Freed memory is held for the next step, up to a bound, unless the environment says otherwise."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# Ten steps that each fill eight arrays of 8 MB and free them: 20,480 pages, if each step takes its memory anew.
STEPS = """
import os, resource
from samunet.allocation import hold_freed_memory
import numpy as np
if {held}: hold_freed_memory()
step = lambda: [np.ones(2**20) for _ in range(8)]
step(), step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10): step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, os.environ.get("MALLOC_TRIM_THRESHOLD_"))
"""
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}


def ran(held: bool, **environment: str) -> tuple[int, str]:
    found = subprocess.run([sys.executable, "-c", STEPS.format(held=held)], env=ENVIRONMENT | environment, text=True,
                           capture_output=True, check=True)
    faults, threshold = found.stdout.split()
    return int(faults), threshold


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_a_step_finds_the_memory_of_the_last_one() -> None:
    assert ran(held=False)[0] > 10_000
    assert ran(held=True) == (pytest.approx(0, abs=1000), "536870912")


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_what_the_user_set_stays() -> None:
    faults, threshold = ran(held=True, MALLOC_TRIM_THRESHOLD_="1000000")
    assert threshold == "1000000" and faults > 10_000


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_large_arrays_are_returned_at_once() -> None:
    script = """
import resource
from samunet.allocation import hold_freed_memory
import numpy as np
hold_freed_memory()
large = np.ones(2**27)
del large
print(int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize())
"""
    found = subprocess.run([sys.executable, "-c", script], env=ENVIRONMENT, text=True, capture_output=True, check=True)
    assert int(found.stdout) < 2**29  # of the array's 2**30
