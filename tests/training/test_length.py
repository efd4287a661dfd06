"""How long a run is that is given in minutes, and when its batch shrinks."""

from __future__ import annotations

import pytest
import torch

from samunet.training import length
from samunet.training.length import fitted_length, iterations_in, smaller_batch


@pytest.mark.parametrize(("planned", "smallest", "seconds", "minutes", "batch"), [
    (12, 2, 4.8, 4.0, 2),  # 50 iterations of 12; 250 in 240 s are 0.96 s each, a fifth: 2.4 samples
    (12, 2, 1.92, 4.0, 6),  # 125 iterations, half as many as wanted
    (12, 2, 0.96, 4.0, 12),  # 250 iterations: enough
    (12, 2, 0.1, 4.0, 12),  # never more than planned
    (12, 2, 60.0, 4.0, 2),  # never fewer than the smallest
    (12, None, 60.0, 4.0, 12),
    (1, 2, 60.0, 4.0, 1),
])
def test_the_batch_leaves_250_iterations(
    planned: int, smallest: int | None, seconds: float, minutes: float, batch: int
) -> None:
    assert smaller_batch(planned, smallest, seconds, minutes) == batch


def test_at_least_one_iteration_is_done() -> None:
    assert iterations_in(1.0, 7.0) == 8 and iterations_in(0.5, 99.0) == 1


def test_a_smaller_batch_is_measured_again_and_has_a_reason(made, monkeypatch) -> None:
    """12 samples at 0.4 s each; a smaller batch is less efficient: 3 samples take 0.5 s each."""
    batches = {12: made.made_batches(), 3: made.made_batches()}
    seconds = {id(batches[12]): 4.8, id(batches[3]): 1.5}
    monkeypatch.setattr(length, "seconds_per_iteration", lambda _, read, __: seconds[id(read)])
    variant = made.tiny_variant()
    fixed = fitted_length(variant, 5.0, 12, batches.__getitem__, torch.device("cpu"))
    assert (fixed.iterations, fixed.batch_size, fixed.reason) == (62, 12, None)
    variant.smallest_batch = 2
    shrunk = fitted_length(variant, 5.0, 12, batches.__getitem__, torch.device("cpu"))
    assert (shrunk.iterations, shrunk.batch_size) == (200, 3) and shrunk.batches is batches[3]
    assert "12 samples, as planned, take 4.8 s" in shrunk.reason
    assert "62 iterations; 3 should leave 250" in shrunk.reason
    plenty = fitted_length(variant, 60.0, 12, batches.__getitem__, torch.device("cpu"))
    assert (plenty.iterations, plenty.batch_size, plenty.reason) == (750, 12, None)
