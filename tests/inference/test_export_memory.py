"""The promise on memory: 512 x 512 x 300 voxels and 15 classes under 3 GB, byte for byte the full array's result."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.inference import export_memory
from samunet.inference.export import export_case
from samunet.inference.export_memory import Needs, bands_of, memory_errors

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "studies" / "export_memory.py"


def measured(*arguments: str, limit_mb: int | None = None) -> dict:
    """What the script prints; under a limit of the system on private writable memory, in MB."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), *arguments]
    if limit_mb is not None:
        command = ["sh", "-c", f'ulimit -d {limit_mb * 1000 * 1000 // 1024}; exec "$@"', "sh", *command]
    return json.loads(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


def available_gb() -> float:
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    except (ValueError, OSError):
        return 0.0


def test_small_case_equals_the_full_array():
    script = runpy.run_path(str(SCRIPT))
    labels = LabelSpace({"background": 0, **{f"organ{value}": value for value in range(1, 5)}})
    plan, properties = script["described"]((24, 64, 56), (40, 96, 80))
    streamed = export_case(script["made_slabs"](5, (24, 64, 56)), properties, plan, labels).segmentation
    full = script["exported_whole"](script["made_slabs"](5, (24, 64, 56)), properties, plan, labels)
    assert streamed.tobytes() == full.tobytes()
    assert len(np.unique(streamed)) == 5


@pytest.mark.slow
def test_large_case_stays_under_3_gb():
    streamed = measured("--mode", "streamed")
    assert streamed["resident_gb"] < 3
    assert streamed["labels"] == 15
    if available_gb() < 8:
        pytest.skip("the full array to compare with needs 8 GB of free memory")
    assert streamed["sha256"] == measured("--mode", "full")["sha256"]


def test_a_short_memory_makes_bands_of_rows_with_the_same_bytes(monkeypatch):
    script = runpy.run_path(str(SCRIPT))
    labels = LabelSpace({"background": 0, **{f"organ{value}": value for value in range(1, 5)}})
    plan, properties = script["described"]((24, 64, 56), (40, 96, 80))
    needs = Needs.of(properties, labels, with_probabilities=True)
    # Two label maps of a byte, three slices and the probabilities of 5 classes of 4 bytes; 8 copies of a row.
    voxels = 40 * 96 * 80
    assert needs == Needs(2 * voxels + 3 * 5 * 64 * 56 * 4 + 5 * voxels * 4, 8 * 5 * 80 * 4)

    def exported(free):
        monkeypatch.setattr(export_memory, "free_bytes", lambda: free)
        return export_case(script["made_slabs"](5, (24, 64, 56)), properties, plan, labels, with_probabilities=True)

    whole, short = exported(10**12), exported(needs.always + 28 * needs.row)
    # A quarter of 28 rows is 7: 13 bands of them and one of the 5 that are left of 96.
    bands = bands_of(needs, 96, "made")
    assert [band.stop - band.start for band in bands] == [7] * 13 + [5]
    assert short.segmentation.tobytes() == whole.segmentation.tobytes()
    assert short.probabilities.tobytes() == whole.probabilities.tobytes()
    assert len(exported(needs.always + needs.row).segmentation) == 40


def test_less_memory_than_a_row_takes_is_refused_before_the_network_computes(monkeypatch):
    script = runpy.run_path(str(SCRIPT))
    labels = LabelSpace({"background": 0, "a": 1})
    plan, properties = script["described"]((24, 64, 56), (40, 96, 80))
    needs = Needs.of(properties, labels, with_probabilities=False)
    monkeypatch.setattr(export_memory, "free_bytes", lambda: needs.always + needs.row - 1)

    def never():
        pytest.fail("a slab was computed")
        yield

    with pytest.raises(UserError, match="must fit into memory") as caught:
        export_case(never(), properties, plan, labels)
    assert "--max_ram" in caught.value.mend


def test_torchs_error_for_refused_memory_is_a_memory_error():
    def slabs():
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")
        yield

    with pytest.raises(MemoryError, match="9 bytes"):
        list(memory_errors(slabs()))
    with pytest.raises(RuntimeError, match="another"):
        list(memory_errors(iter_raising("another")))


def iter_raising(text):
    raise RuntimeError(text)
    yield


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit is Linux's")
def test_the_system_lets_the_streamed_export_pass_where_the_full_array_fails():
    """15 classes on 128 x 192 x 192 voxels: 283 MB of logits, a label map of 5 MB, 11 MB at least."""
    size = ["--shape", "128", "192", "192", "--plan_shape", "64", "96", "96"]
    free = measured("--mode", "streamed", *size)
    limit_mb = free["started_mb"] + 80
    assert measured("--mode", "streamed", *size, limit_mb=limit_mb)["sha256"] == free["sha256"]
    with pytest.raises(subprocess.CalledProcessError) as caught:
        measured("--mode", "full", *size, limit_mb=limit_mb)
    assert "MemoryError" in caught.value.stderr
    with pytest.raises(subprocess.CalledProcessError) as caught:
        measured("--mode", "streamed", *size, limit_mb=free["started_mb"] + 6)
    assert "A case's segmentation must fit into memory" in caught.value.stderr
