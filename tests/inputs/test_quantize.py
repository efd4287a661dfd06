"""Rounding of cached embeddings, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from samunet.inputs.quantize import packed, rounded, stored_dtype, unpacked


def embedding(*values: float) -> torch.Tensor:
    """One picture's embedding (1, 1, 1, n) of one channel."""
    return torch.tensor(values, dtype=torch.float32).view(1, 1, 1, -1)


def test_int8_codes_by_hand() -> None:
    # The largest magnitude, 6.35, makes the scale 0.05; 0.12 / 0.05 = 2.4 -> 2; -0.125 / 0.05 = -2.5 -> -2 (ties to
    # even).
    stored = packed(embedding(6.35, 0.12, -0.125, 0.0), "int8")
    assert stored["scales"][0, 0] == pytest.approx(0.05)
    assert stored["codes"][0, 0, 0].tolist() == [127, 2, -2, 0]
    assert unpacked(stored).flatten().tolist() == pytest.approx([6.35, 0.1, -0.1, 0.0])


def test_each_channel_of_each_picture_has_its_own_scale() -> None:
    values = torch.tensor([[1.27, 0.01], [127.0, 1.0]]).view(2, 1, 1, 2)
    stored = packed(values, "int8")
    assert stored["scales"].flatten().tolist() == pytest.approx([0.01, 1.0])
    assert stored["codes"].tolist() == [[[[127, 1]]], [[[127, 1]]]]


def test_a_channel_of_zeros_stays_zero() -> None:
    assert rounded(embedding(0.0, 0.0), "int8").flatten().tolist() == [0.0, 0.0]


def test_the_error_is_at_most_half_a_scale() -> None:
    values = torch.from_numpy(np.random.default_rng(0).standard_normal((3, 8, 16, 16), np.float32))
    scales = values.abs().amax((2, 3), keepdim=True) / 127
    error = (rounded(values, "int8") - values).abs()
    assert bool((error <= scales * 0.5001).all())
    # Of values spread evenly over a step, the mean error is a quarter of it.
    assert (error / scales).mean() == pytest.approx(0.25, abs=0.01)


def test_float16_keeps_eleven_bits() -> None:
    # Between 2048 and 4096 a float16 counts in twos.
    assert rounded(embedding(2049.0, 2050.0, 0.5), "float16").flatten().tolist() == [2048.0, 2050.0, 0.5]


def test_bytes_of_a_picture() -> None:
    assert stored_dtype("float16", (256, 16, 16)).itemsize == 2
    assert stored_dtype("int8", (256, 16, 16)).itemsize == 256 * 16 * 16 + 256 * 4
