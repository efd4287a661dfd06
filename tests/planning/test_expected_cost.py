"""Expected costs, by figures that a person can compute."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import replace

import pytest

from samunet.errors import UserError
from samunet.planning import expected_cost
from samunet.planning.expected_cost import Cost, announce, arrays_cost, embeddings_cost, registration_seconds
from samunet.planning.plans import DatasetPlan, EncoderPlan

GB = 10**9
Figures = namedtuple("Figures", ["shapes_after_crop", "spacings_mm"])
PLAN = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (2.0, 1.0, 1.0), (50, 100, 100), False, ("MRI",), ("zscore",),
                   (False,), ({},))
# On the plan's grid 50 x 100 x 100 voxels each: the first has twice as many slices in its file.
CASES = Figures(((100, 100, 100), (50, 100, 100)), ((1.0, 1.0, 1.0), (2.0, 1.0, 1.0)))


@pytest.fixture
def free(monkeypatch):
    def set_free(memory, disk=10**12):
        monkeypatch.setattr(expected_cost, "free_bytes", lambda: memory)
        monkeypatch.setattr(expected_cost.shutil, "disk_usage", lambda _: namedtuple("Usage", "free")(disk))

    set_free(100 * GB)
    return set_free


def test_arrays_by_hand(free):
    # 1 M voxels at 2.7 M a second and twice 0.013 s, by two processes; 3.4 + 2 bytes a voxel on disk; the larger case
    # has 1 M voxels in its file, each 3 x 6 + 8 bytes.
    cost = arrays_cost(CASES, PLAN, 2)
    assert cost.seconds == pytest.approx((1 / 2.7 + 0.026) / 2)
    assert cost.disk_bytes == 5_400_000
    assert cost.ram_bytes == 2 * (140_000_000 + 26_000_000)


def test_fewer_processes_where_memory_is_short_and_a_case_that_never_fits_is_left_out(free):
    free(400_000_000)
    assert arrays_cost(CASES, PLAN, 8).ram_bytes == 2 * 166_000_000
    free(160_000_000)  # holds the smaller case only
    cost = arrays_cost(CASES, PLAN, 8)
    assert cost.ram_bytes == 153_000_000 and cost.disk_bytes == 2_700_000
    free(1000)  # none: the smallest is counted, and refused below
    assert arrays_cost(CASES, PLAN, 8).ram_bytes == 153_000_000


def test_embeddings_by_hand():
    # An image of 256 pixels is 256 tokens x 256 channels x 2 bytes = 131,072 bytes: 7000 of them, 3.7 GFLOP each.
    section = EncoderPlan("mini", 256, (50, 50), 0.5, "neighbours", 4, "float16", 7000 * 131_072, 100)
    cost = embeddings_cost(section, "mini")
    assert cost.disk_bytes == 917_504_000 and cost.ram_bytes == 0
    # Measured of 7000 images on two quiet cores: 232 s.
    assert cost.seconds == pytest.approx(7000 * 3.72 / 100, rel=0.02) and 200 < cost.seconds < 300


def test_registration_by_hand():
    """A plan of 500,000 voxels is registered on a grid of at most 65,536, one of 63,000 or fewer on its own."""
    largest = registration_seconds(10, PLAN)
    assert 10 * 0.9 * 60_000 / 63_000 < largest <= 10 * 0.9 * 65_536 / 63_000
    assert registration_seconds(10, replace(PLAN, median_shape=(36, 50, 35))) == pytest.approx(9.0)
    assert registration_seconds(10, replace(PLAN, median_shape=(4, 5, 5))) == pytest.approx(9.0)


def test_what_does_not_fit_is_refused_with_its_figures(free, tmp_path, capsys):
    cost = Cost(240, 2 * GB, 3 * GB)
    announce("the work", cost, tmp_path, "Close programs.")
    assert capsys.readouterr().err == "the work: expected about 4 minutes, 2.0 GB of RAM, 3.00 GB of disk\n"
    free(100 * GB, disk=2 * GB)
    announce("the work", cost, tmp_path, "", there=GB)  # what is there already needs no room
    with pytest.raises(UserError, match="disk must have room") as caught:
        announce("the work", cost, tmp_path, "", there=GB - 1)
    assert caught.value.found.startswith("3.00 GB are expected")
    free(2 * GB - 1)
    with pytest.raises(UserError, match="memory must have room") as caught:
        announce("the work", cost, tmp_path, "Close programs.")
    assert caught.value.mend == "Close programs."


@pytest.mark.parametrize("seconds, text", [(None, ""), (0.2, "about 1 s, "), (89, "about 89 s, "),
                                           (600, "about 10 minutes, "), (9000, "about 2.5 hours, ")])
def test_durations_as_a_person_reads_them(seconds, text):
    assert str(Cost(seconds, 0, 10**7)) == f"{text}0.01 GB of disk"
