"""A start for `networks.hybrid`: one set of weights that serves all its kernels, strides, depths and inputs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from samunet.errors import UserError
from samunet.networks.checkpoints.tensor_files import read_tensors
from samunet.networks.hybrid import Hybrid
from samunet.planning.volume_rules import VolumePlan

STAGES = 4  # of the start; a network's deeper ones begin at random
SLOTS = 4  # input channels of the start for transported labels; a class is given one of them
_CUBE = (8, 8, 8)
# Kernels and strides of the start itself, the largest that nnU-Net's rule gives.
CANONICAL = VolumePlan(_CUBE, _CUBE, ((1, 1, 1), *[(2, 2, 2)] * (STAGES - 1)), ((3, 3, 3),) * STAGES,
                       (4, 4, 4), (2, 2, 2))
FIRST = "encoder.0.convs.0."  # the block that reads the input channels
# Of the network but not of the start: heads are fitted to the classes, and no embeddings were seen.
_FOREIGN = ("heads.", "project.", "join.")
_DEEPEST = {"encoder": STAGES - 1, "up": STAGES - 2, "decoder": STAGES - 2}
MEND = "Reinstall samunet, or start with random weights."


def canonical_network() -> Hybrid:
    """The network whose weights a start is: one image channel, SLOTS of transported labels, kernels of 3 x 3 x 3."""
    return Hybrid(1 + SLOTS, 0, 1, CANONICAL, 0.0)


def start_of(network: Hybrid) -> dict[str, nn.Parameter]:
    """The parameters of a network that a start has weights for, by name."""
    return {name: parameter for name, parameter in network.named_parameters()
            if not name.startswith(_FOREIGN) and _stage(name) <= _DEEPEST[name.split(".")[0]]}


def fitted(start: Mapping[str, Tensor], shapes: Mapping[str, torch.Size], image_channels: int) -> dict[str, Tensor]:
    """The start's weights in the shapes of a network, differentiable.

    What fits what:

    - A 1 x 3 x 3 kernel is the sum of a 3 x 3 x 3 kernel over depth: its answer to a volume whose slices are all alike
      (Carreira and Zisserman, arXiv 1705.07750, section 2.3, inflate kernels by the same rule).
    - A transposed kernel of a stride of 1 along an axis is the mean over that axis: each of its places is another
      output voxel.
    - Each of N image channels has the image kernel divided by N: N equal channels give the answer to one.
    - Transported labels of class i have the kernel of slot i, counted from 0, modulo SLOTS.
    - A network that ends after fewer stages leaves out the deeper ones; stages that the start lacks stay as they are.

    Arguments:
        start: tensors of `canonical_network`, by name.
        shapes: those of the network's `start_of`, by name.
        image_channels: of the network's input channels, the first so many are the image's, the others transported
            labels.
    """
    return {name: _fitted(start[name], shape, image_channels if name.startswith(FIRST) else None,
                          transposed=name.startswith("up."))
            for name, shape in shapes.items()}


def load_start(network: Hybrid, path: Path, image_channels: int) -> None:
    """Put the weights of the file into the network, as `fitted` does; heads and the joining of embeddings stay.

    Arguments:
        image_channels: see `fitted`.

    Raises:
        UserError: the file is damaged or does not hold a start.
    """
    start, _ = read_tensors(path, MEND)
    require_start(start, path)
    parameters = start_of(network)
    new = fitted(start, {name: parameter.shape for name, parameter in parameters.items()}, image_channels)
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(new[name])


def require_start(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raise UserError unless `tensors` have the names and shapes of a start."""
    wanted = {name: tensor.shape for name, tensor in start_of(canonical_network()).items()}
    different = sorted(name for name in wanted.keys() | tensors.keys()
                       if name not in tensors or name not in wanted or tensors[name].shape != wanted[name])
    if different:
        raise UserError("A start must have the tensors of hybrid's network.", where=path,
                        found=f"{len(different)} that are missing, unknown or of another shape, as {different[0]}",
                        mend=MEND)


def _stage(name: str) -> int:
    return int(name.split(".")[1])


def _fitted(tensor: Tensor, shape: torch.Size, image_channels: int | None, *, transposed: bool) -> Tensor:
    if tensor.ndim == 5:
        if image_channels is not None:
            tensor = _for_inputs(tensor, image_channels, shape[1] - image_channels)
        for axis in (2, 3, 4):
            if tensor.shape[axis] != shape[axis]:
                tensor = tensor.mean(axis, keepdim=True) if transposed else tensor.sum(axis, keepdim=True)
    return tensor


def _for_inputs(kernel: Tensor, image_channels: int, classes: int) -> Tensor:
    """Kernel (O, 1 + SLOTS, ...) -> (O, image_channels + classes, ...)."""
    image = kernel[:, :1].expand(-1, image_channels, -1, -1, -1) / image_channels
    return torch.cat([image, *[kernel[:, 1 + index % SLOTS][:, None] for index in range(classes)]], 1)
