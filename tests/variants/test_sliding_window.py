"""Windows joined by hand-checkable numbers, and the stream against one big accumulator."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from samunet.planning.tiles import TileFrame, window_starts
from samunet.variants.sliding_window import gaussian_weights, sliding_window


def test_weights_by_hand():
    # Window 4: sigma 0.5, peak at index 2, so distances of 4, 2, 0 and 2 sigmas.
    assert gaussian_weights((4,)).tolist() == pytest.approx([math.exp(-8), math.exp(-2), 1, math.exp(-2)])
    assert gaussian_weights((1,)).tolist() == [1]


@pytest.mark.parametrize("window", [(8, 8), (33, 20), (5, 48, 30)])
def test_weights_equal_nnunets(window):
    nnunet = pytest.importorskip("nnunetv2.inference.sliding_window_prediction")
    expected = nnunet.compute_gaussian(tuple(window), dtype=torch.float32, device=torch.device("cpu"))
    torch.testing.assert_close(gaussian_weights(window), expected, rtol=1e-5, atol=0)


def test_two_tiles_by_hand():
    # Six columns, two tiles of four (from 0 and from 2) whose logits are 0 and 1. In column 2 the weights are 1 and
    # exp(-8), in column 3 both are exp(-2).
    frame = TileFrame((4, 6), (4, 4), 0.5)
    slabs = list(
        sliding_window(
            lambda picks: torch.stack([torch.full((1, 1, 4, 4), float(tile)) for _, tile in picks]),
            frame, 1, batch_size=2,
        )
    )
    assert [first for first, _ in slabs] == [0]
    share = math.exp(-8) / (1 + math.exp(-8))
    for row in range(4):
        assert slabs[0][1][0, 0, row].tolist() == pytest.approx([0, 0, share, 0.5, 1, 1], abs=1e-6)


@pytest.mark.parametrize("shape", [(5, 7), (16, 16), (20, 9), (37, 21)])
@pytest.mark.parametrize("depth, slices", [(1, 1), (4, 1), (12, 5), (3, 5), (5, 5), (7, 2)])
def test_agreeing_windows_give_the_image_back(shape, depth, slices):
    """Every window shows the same image, so whatever the weights, that image must come out, padding removed."""
    image = np.random.default_rng([1]).normal(size=(2, depth, *shape)).astype(np.float32)
    frame = TileFrame(shape, (16, 12), 0.5)

    def logits_of(picks):
        windows = []
        for first, tile in picks:
            shown = np.clip(np.arange(first, first + slices), 0, depth - 1)
            windows.append(frame.cut(image[:, shown], tile, 99.0))
        return torch.from_numpy(np.stack(windows))

    slabs = list(sliding_window(logits_of, frame, depth, batch_size=3, slices=slices))
    assert [first for first, _ in slabs] == list(np.cumsum([0, *(slab.shape[1] for _, slab in slabs)])[:-1])
    np.testing.assert_allclose(np.concatenate([slab for _, slab in slabs], 1), image, rtol=1e-5, atol=1e-5)


def test_stream_equals_one_big_accumulator():
    frame, depth, stack = TileFrame((20, 14), (8, 8), 0.5), 13, 5
    made: dict[tuple[int, int], torch.Tensor] = {}

    def logits_of(picks):
        for first, tile in picks:
            rng = np.random.default_rng([7, first, tile])
            made[first, tile] = torch.from_numpy(rng.normal(size=(3, stack, 8, 8)).astype(np.float32))
        return torch.stack([made[pick] for pick in picks])

    stream = [slab for _, slab in sliding_window(logits_of, frame, depth, batch_size=4, slices=stack)]
    weights = gaussian_weights((stack, 8, 8)).double()
    sums, total = torch.zeros(3, depth, 20, 14, dtype=torch.float64), torch.zeros(depth, 20, 14, dtype=torch.float64)
    assert sorted({first for first, _ in made}) == window_starts(depth, stack, 0.5)
    for (first, tile), window in made.items():
        row, column = frame.starts[tile]
        sums[:, first : first + stack, row : row + 8, column : column + 8] += window * weights
        total[first : first + stack, row : row + 8, column : column + 8] += weights
    np.testing.assert_allclose(np.concatenate(stream, 1), (sums / total).numpy(), rtol=1e-4, atol=1e-5)


def test_result_does_not_depend_on_the_batch_size():
    frame = TileFrame((20, 14), (8, 8), 0.5)

    def logits_of(picks):
        return torch.stack([torch.from_numpy(np.random.default_rng([slice_, tile]).normal(size=(2, 1, 8, 8)))
                            for slice_, tile in picks])

    small, large = (
        np.concatenate([slab for _, slab in sliding_window(logits_of, frame, 4, batch_size=size)], 1)
        for size in (1, 32)
    )
    assert small.tobytes() == large.tobytes()


def test_slices_come_before_later_windows_are_asked_for():
    """Bounded memory: when slice 0 is given, nothing beyond the next batch has been computed."""
    frame, asked = TileFrame((8, 8), (8, 8), 0.5), []

    def logits_of(picks):
        asked.extend(picks)
        return torch.zeros(len(picks), 2, 1, 8, 8)

    first, slab = next(sliding_window(logits_of, frame, 1000, batch_size=4))
    assert (first, slab.shape) == (0, (2, 1, 8, 8))
    assert len(asked) == 4


def test_equal_votes_by_hand() -> None:
    # Four slices, stacks of three from slice 0 and from slice 1, whose logits are 0 and 1; the middle slices have two
    # votes.
    starts = []

    def logits_of(picks):
        starts.extend(first for first, _ in picks)
        return torch.stack([torch.full((1, 3, 4, 4), float(first)) for first, _ in picks])

    slabs = list(sliding_window(logits_of, TileFrame((4, 4), (4, 4), 0.5), 4, batch_size=1, slices=3,
                                uniform_weights=True))
    assert starts == [0, 1]
    np.testing.assert_allclose(np.concatenate([slab for _, slab in slabs], 1)[0, :, 0, 0], [0, 0.5, 0.5, 1], rtol=1e-6)


def test_equal_votes_are_as_many_as_a_stack_has_slices() -> None:
    votes = np.zeros(12, int)

    def logits_of(picks):
        for first, _ in picks:
            votes[first : first + 5] += 1
        return torch.zeros(len(picks), 1, 5, 4, 4)

    list(sliding_window(logits_of, TileFrame((4, 4), (4, 4), 0.5), 12, batch_size=3, slices=5, uniform_weights=True))
    assert votes.tolist() == [1, 2, 3, 4, 5, 5, 5, 5, 4, 3, 2, 1]


def windows_of(depth: int, slices: int, step: float | None, uniform_weights: bool = False) -> tuple[list[int], list]:
    """First slices of the windows, and the answer of each slice where a window's logits are its first slice."""
    starts: list[int] = []

    def logits_of(picks):
        starts.extend(first for first, _ in picks)
        return torch.stack([torch.full((1, slices, 4, 4), float(first)) for first, _ in picks])

    slabs = list(sliding_window(logits_of, TileFrame((4, 4), (4, 4), 0.5), depth, batch_size=1, slices=slices,
                                uniform_weights=uniform_weights, slice_step=step))
    return starts, np.concatenate([slab for _, slab in slabs], 1)[0, :, 0, 0].tolist()


def test_stacks_two_slices_apart_by_hand() -> None:
    # Eight slices, stacks of four, at most half of them apart: slices 2 and 3 are in the first and the second stack.
    starts, answer = windows_of(8, 4, 0.5, uniform_weights=True)
    assert starts == [0, 2, 4]
    assert answer == pytest.approx([0, 0, 1, 1, 3, 3, 4, 4])


def test_windows_that_do_not_overlap_answer_alone() -> None:
    starts, answer = windows_of(9, 3, 1.0)
    assert starts == [0, 3, 6]
    assert answer == pytest.approx([0, 0, 0, 3, 3, 3, 6, 6, 6])


def test_a_step_of_three_quarters_lies_evenly() -> None:
    # Ten slices, windows of four: at most three apart. Nine slices: 5 / 3 windows more, so three, 2.5 apart.
    assert windows_of(10, 4, 0.75)[0] == [0, 3, 6]
    assert windows_of(9, 4, 0.75)[0] == [0, 2, 5]
    assert windows_of(10, 4, None)[0] == [0, 2, 4, 6]
