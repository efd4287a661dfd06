"""The plain convolutional U-Net that nnU-Net trains, from dynamic-network-architectures."""

from __future__ import annotations

from dynamic_network_architectures.architectures.unet import PlainConvUNet
from dynamic_network_architectures.initialization.weight_init import InitWeights_He
from torch import nn

from samunet.networks.flat_convolutions import compute_by_slices
from samunet.networks.instance_norm import InstanceNorm2d, InstanceNorm3d
from samunet.planning.sections import UnetPlan
from samunet.planning.unet_rules import CONVOLUTIONS

SLOPE = 1e-2  # of the leaky ReLUs below 0


def build_unet(plan: UnetPlan, channels: int, classes: int) -> PlainConvUNet:
    """Patches (B, channels, *patch) -> logits (B, classes, *patch); He's initial weights, instance norm, leaky ReLU.

    With `decoder.deep_supervision` it returns a list, the logits of each decoder stage, finest first.
    """
    flat = len(plan.patch) == 2
    stages = len(plan.strides)
    network = PlainConvUNet(
        channels, stages, plan.widths, nn.Conv2d if flat else nn.Conv3d, plan.kernels, plan.strides, CONVOLUTIONS,
        classes, CONVOLUTIONS, conv_bias=True, norm_op=InstanceNorm2d if flat else InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True}, nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True, "negative_slope": SLOPE}, deep_supervision=False)
    if not flat:
        compute_by_slices(network)
    return network.apply(InitWeights_He(SLOPE))
