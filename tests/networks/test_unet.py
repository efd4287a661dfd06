from __future__ import annotations

import importlib.util

import pytest
import torch

from samunet.networks.unet import build_unet
from samunet.planning.unet_rules import UnetPlan

PLAN = UnetPlan((24, 16), ((1, 1), (2, 2), (2, 2)), ((3, 3),) * 3, (4, 8, 16), 12)


def test_widths_and_parameters_by_hand() -> None:
    network = build_unet(PLAN, channels=2, classes=3)
    # Two 3x3 convolutions a stage with bias, and instance norms' weight and bias.
    encoder = (2 * 4 + 4 * 4 + 4 * 8 + 8 * 8 + 8 * 16 + 16 * 16) * 9 + 2 * (4 + 8 + 16) * 3
    assert sum(each.numel() for each in network.encoder.parameters()) == encoder
    assert network(torch.zeros(1, 2, 24, 16)).shape == (1, 3, 24, 16)


def test_initial_weights_are_hes() -> None:
    torch.manual_seed(0)
    network = build_unet(UnetPlan((8, 8), ((1, 1), (2, 2)), ((3, 3),) * 2, (64, 128), 12), 1, 2)
    weights = network.encoder.stages[1][0].convs[0].conv.weight
    assert float(weights.detach().std()) == pytest.approx((2 / (1 + 1e-4) / (64 * 9)) ** 0.5, rel=0.02)


@pytest.mark.skipif(importlib.util.find_spec("nnunetv2") is None, reason="needs nnU-Net")
def test_equal_to_the_network_that_nnunet_builds() -> None:
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    theirs = get_network_from_plans(
        "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        {"n_stages": 3, "features_per_stage": PLAN.widths, "conv_op": "torch.nn.modules.conv.Conv2d",
         "kernel_sizes": PLAN.kernels, "strides": PLAN.strides, "n_conv_per_stage": [2] * 3,
         "n_conv_per_stage_decoder": [2] * 2, "conv_bias": True,
         "norm_op": "torch.nn.modules.instancenorm.InstanceNorm2d", "norm_op_kwargs": {"eps": 1e-5, "affine": True},
         "dropout_op": None, "dropout_op_kwargs": None, "nonlin": "torch.nn.LeakyReLU",
         "nonlin_kwargs": {"inplace": True}},
        ("conv_op", "norm_op", "dropout_op", "nonlin"), 2, 3, allow_init=True, deep_supervision=True)
    ours = build_unet(PLAN, 2, 3)
    ours.load_state_dict(theirs.state_dict())
    ours.decoder.deep_supervision = True
    patches = torch.randn(2, 2, 24, 16, generator=torch.Generator().manual_seed(1))
    for one, other in zip(ours(patches), theirs(patches), strict=True):
        assert torch.equal(one, other)
