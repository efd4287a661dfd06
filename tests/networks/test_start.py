"""One set of 3 x 3 x 3 kernels in networks of other kernels, strides, depths and inputs, by hand."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
import torch
from torch import Tensor

from samunet.errors import UserError
from samunet.files import digest_of_file, read_json
from samunet.networks.checkpoints.tensor_files import write_tensors
from samunet.networks.hybrid import Hybrid
from samunet.networks.start import SLOTS, canonical_network, fitted, load_start, start_of
from samunet.planning.volume_rules import VolumePlan

THICK = VolumePlan((3, 16, 16), (3, 16, 16), ((1, 1, 1), (1, 2, 2), (1, 2, 2)), ((1, 3, 3), (1, 3, 3), (3, 3, 3)),
                   (1, 4, 4), (3, 4, 4))
FIRST, UP = "encoder.0.convs.0.conv.weight", "up.0.weight"


@pytest.fixture(scope="module")
def start() -> dict[str, Tensor]:
    """Random weights, biases and norms too."""
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(tensor.shape, generator=generator) * 0.1
            for name, tensor in start_of(canonical_network()).items()}


@pytest.fixture
def path(start: dict[str, Tensor], tmp_path: Path) -> Path:
    """The file of the start."""
    write_tensors(tmp_path / "start.safetensors", start)
    return tmp_path / "start.safetensors"


def network(image_channels: int, classes: int, embeddings: int = 0) -> Hybrid:
    """One for thick slices, with three stages."""
    return Hybrid(image_channels + classes, embeddings, 3, THICK, 0.0).eval()


def test_a_flat_kernel_is_the_sum_over_depth() -> None:
    kernel = torch.zeros(16, 1 + SLOTS, 3, 3, 3)
    kernel[0, 0, :, 1, 2] = torch.tensor([1.0, 2.0, 4.0])
    flat = fitted({FIRST: kernel}, {FIRST: torch.Size((16, 1, 1, 3, 3))}, 1)[FIRST]
    assert flat[0, 0, 0, 1, 2] == 7 and flat.sum() == 7


def test_a_transposed_kernel_without_stride_is_the_mean_along_the_axis() -> None:
    kernel = torch.zeros(32, 16, 2, 2, 2)
    kernel[0, 0, :, 0, 1] = torch.tensor([1.0, 2.0])
    flat = fitted({UP: kernel}, {UP: torch.Size((32, 16, 1, 2, 2))}, 1)[UP]
    assert flat[0, 0, 0, 0, 1] == 1.5 and flat.sum() == 1.5


def test_image_channels_share_a_kernel_and_classes_have_slots_in_turn() -> None:
    kernel = torch.zeros(16, 1 + SLOTS, 3, 3, 3)
    kernel[0, :, 1, 1, 1] = torch.tensor([10.0, 1, 2, 3, 4])
    found = fitted({FIRST: kernel}, {FIRST: torch.Size((16, 2 + 6, 3, 3, 3))}, 2)[FIRST]
    assert found[0, :, 1, 1, 1].tolist() == [5, 5, 1, 2, 3, 4, 1, 2]


def test_two_equal_channels_give_the_features_of_one(path: Path) -> None:
    one, two = network(1, 2), network(2, 2)
    load_start(one, path, 1)
    load_start(two, path, 2)
    volume = torch.randn(1, 3, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    none = volume[:, :0]
    doubled = torch.cat([volume[:, :1], volume], 1)
    assert torch.allclose(one.features(volume, none), two.features(doubled, none), atol=1e-5)


def test_heads_and_the_joining_of_embeddings_stay_and_all_else_is_the_start(path: Path, start) -> None:
    loaded = network(1, 0, embeddings=8)
    before = {name: tensor.clone() for name, tensor in loaded.named_parameters()}
    load_start(loaded, path, 1)
    same = {name for name, tensor in loaded.named_parameters() if torch.equal(tensor, before[name])}
    assert same == {name for name in before if name.startswith(("heads.", "project.", "join."))}
    deep = "encoder.2.convs.1.conv.weight"
    assert torch.equal(dict(loaded.named_parameters())[deep], start[deep])


def test_weights_of_other_names_or_shapes_are_refused(start, tmp_path: Path) -> None:
    write_tensors(tmp_path / "other.safetensors", {**start, UP: torch.zeros(1)})
    with pytest.raises(UserError, match=r"1 that are missing, unknown or of another shape, as up\.0\.weight"):
        load_start(network(1, 0), tmp_path / "other.safetensors", 1)


def test_the_shipped_start_is_the_one_of_its_card_and_fits() -> None:
    folder = Path(str(files("samunet.networks"))) / "weights"
    weights = folder / "hybrid-start.safetensors"
    assert digest_of_file(weights) == read_json(folder / "hybrid-start.json")["sha256"]
    assert weights.stat().st_size <= 8e6
    load_start(network(1, 2), weights, 1)
