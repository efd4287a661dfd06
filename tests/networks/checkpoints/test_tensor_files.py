"""Safetensors files: what is written comes back, and every damage is one message that names the file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from samunet.errors import UserError
from samunet.networks.checkpoints.tensor_files import read_tensors, write_tensors

TENSORS = {"weight": torch.tensor([[1.0, -2.0], [0.5, 4.0]]), "count": torch.tensor(3),
           "half": torch.ones(3, dtype=torch.bfloat16),
           "none": torch.zeros(0, 2)}
METADATA = {"training": '{"iteration": 50}'}


def same(found: dict[str, torch.Tensor]) -> bool:
    return found.keys() == TENSORS.keys() and all(torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype
                                                  for name, tensor in TENSORS.items())


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    write_tensors(tmp_path / "a", TENSORS, METADATA)
    tensors, metadata = read_tensors(tmp_path / "a")
    assert same(tensors) and metadata == METADATA


def test_without_metadata_the_bytes_are_those_of_the_tensors_alone(tmp_path: Path) -> None:
    write_tensors(tmp_path / "ours", TENSORS)
    save_file(TENSORS, tmp_path / "theirs")
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_a_file_of_before_without_a_checksum_is_read(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "a", metadata=METADATA)
    tensors, metadata = read_tensors(tmp_path / "a")
    assert same(tensors) and metadata == METADATA


@pytest.mark.parametrize("bit", [1, 32])
def test_no_flipped_bit_gives_other_tensors_or_scalars(tmp_path: Path, bit: int) -> None:
    path, read = tmp_path / "a", 0
    write_tensors(path, TENSORS, METADATA)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
        try:
            tensors, metadata = read_tensors(path)
        except UserError as fault:
            assert fault.where == str(path)
        else:  # the name of the checksum was hit
            assert same(tensors) and metadata["training"] == METADATA["training"]
            read += 1
    assert read <= len("crc32")


@pytest.mark.parametrize("size", [0, 5, 100, -1])
def test_a_truncated_file_is_named(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a"
    write_tensors(path, TENSORS)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(UserError, match="A checkpoint must be whole") as caught:
        read_tensors(path)
    assert caught.value.where == str(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_not_finite_names_file_and_tensor(tmp_path: Path, value: float) -> None:
    write_tensors(tmp_path / "a", {**TENSORS, "bias": torch.tensor([0.0, value])})
    with pytest.raises(UserError) as caught:
        read_tensors(tmp_path / "a")
    assert (caught.value.where, caught.value.found) == (str(tmp_path / "a"), "bias holds numbers that are not finite")


def test_tensors_that_share_memory_are_written(tmp_path: Path) -> None:
    tied = torch.ones(2)
    write_tensors(tmp_path / "a", {"one": tied, "two": tied})
    assert read_tensors(tmp_path / "a")[0]["two"].tolist() == [1, 1]
