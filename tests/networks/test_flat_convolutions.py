"""Convolutions by slices give PyTorch's own sums, and leave its memory whole in bfloat16."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from samunet.networks import flat_convolutions
from samunet.networks.convolution_3d import DisjointTransposed3d
from samunet.networks.flat_convolutions import SliceConv3d, compute_by_slices

CASES = {
    "flat": (nn.Conv3d(2, 3, (1, 3, 3), padding=(0, 1, 1)), (2, 2, 3, 6, 5)),
    "flat, strided": (nn.Conv3d(2, 3, (1, 3, 3), (1, 2, 2), (0, 1, 1)), (2, 2, 3, 6, 5)),
    "a voxel": (nn.Conv3d(2, 3, 1), (1, 2, 4, 5, 6)),
    "thin": (nn.Conv3d(2, 3, 3, padding=1), (2, 2, 3, 6, 5)),
    "thin, strided": (nn.Conv3d(2, 3, 3, 2, 1), (2, 2, 4, 6, 5)),
    "one slice": (nn.Conv3d(2, 3, 3, padding=1), (1, 2, 1, 6, 5)),
}


def by_slices(layer: nn.Module) -> nn.Module:
    layer = nn.Sequential(layer)
    compute_by_slices(layer)
    return layer


@pytest.mark.parametrize("name", CASES)
def test_sums_and_gradients_are_those_of_pytorch(name, monkeypatch) -> None:
    torch.manual_seed(0)
    layer, shape = CASES[name]
    volume = torch.randn(shape, requires_grad=True)
    expected = layer(volume)
    expected.square().sum().backward()
    gradients = [volume.grad, *(each.grad.clone() for each in layer.parameters())]
    volume.grad = None
    layer.zero_grad()
    monkeypatch.setattr(flat_convolutions, "trained_in_bfloat16", lambda _: True)
    monkeypatch.setattr(flat_convolutions, "LARGE_PLANE", 0)
    found = by_slices(layer)(volume)
    torch.testing.assert_close(found, expected)
    found.square().sum().backward()
    for ours, theirs in zip([volume.grad, *(each.grad for each in layer.parameters())], gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_flat_kernel_reads_no_slice_beside_its_own(monkeypatch) -> None:
    monkeypatch.setattr(flat_convolutions, "trained_in_bfloat16", lambda _: True)
    layer = nn.Conv3d(1, 1, (1, 3, 3), padding=(0, 1, 1), bias=False)
    nn.init.ones_(layer.weight)
    volume = torch.zeros(1, 1, 3, 3, 3)
    volume[0, 0, 1, 1, 1] = 1
    found = by_slices(layer)(volume)[0, 0]
    assert found.sum((1, 2)).tolist() == [0, 9, 0]


def test_names_weights_and_other_layers_stay() -> None:
    network = nn.Sequential(nn.Conv3d(1, 2, 3), nn.ConvTranspose3d(2, 2, 2, 2), nn.ConvTranspose3d(2, 2, 3, 2))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    compute_by_slices(network)
    assert [type(layer) for layer in network] == [SliceConv3d, DisjointTransposed3d, nn.ConvTranspose3d]
    after = network.state_dict()
    assert after.keys() == before.keys() and all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize(("stride", "shape"), [
    (1, (2, 128, 3, 40, 34)),  # where PyTorch 2.14's own gives NaN on a processor with AMX
    ((1, 2, 2), (1, 128, 2, 12, 12)), ((1, 2, 2), (2, 128, 2, 8, 7)),  # on one with AVX512-BF16 alone
])
def test_gradients_of_a_thin_volume_in_bfloat16_are_those_of_float32(stride, shape) -> None:
    torch.manual_seed(0)
    layer, volume = by_slices(nn.Conv3d(128, 64, 3, stride, padding=1)), torch.randn(shape)
    gradients = []
    for enabled in (False, True):
        layer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            found = layer(volume)
        found.float().square().mean().backward()
        gradients.append(torch.cat([each.grad.flatten() for each in layer.parameters()]))
    assert (gradients[1] - gradients[0]).abs().max() < 0.02 * gradients[0].abs().max()


TRAIN = """
import torch
from samunet.networks.hybrid import Hybrid
from samunet.planning.volume_rules import VolumePlan
shape = (3, 112, 112)
flat, full, plane = (1, 3, 3), (3, 3, 3), (1, 2, 2)
network = Hybrid(1, 0, 3, VolumePlan(shape, shape, ((1, 1, 1), plane, plane), KERNELS, (1, 4, 4), (3, 28, 28)), 0.0)
for _ in range(4):
    image = torch.randn(1, 1, *shape)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = network(image, image[:, :0])
    sum(each.float().square().mean() for each in outputs).backward()
print("whole")
"""


@pytest.mark.parametrize("kernels", ["(flat, flat, full)", "(full, full, full)"])
def test_training_in_bfloat16_leaves_memory_whole(kernels) -> None:
    # glibc stops a process whose heap is damaged; on a processor without AMX nothing is damaged.
    done = subprocess.run([sys.executable, "-c", TRAIN.replace("KERNELS", kernels)], capture_output=True, text=True,
                          check=False, env={"MALLOC_CHECK_": "3", "OMP_NUM_THREADS": "1"})
    assert (done.returncode, done.stdout) == (0, "whole\n"), done.stderr[-500:]
