"""The other networks of MA-SAM's table as variants: plans, messages, learning."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.planning.plans import DatasetPlan, EncoderPlan, Patch3dPlan
from samunet.training.trainer import Optimization
from samunet.variants.base import VariantContext
from samunet.variants.patch3d_kind import Patch3dVariant
from samunet.variants.registry import built_settings, variant_class

LABELS, SHAPE = LabelSpace({"background": 0, "a": 1}), (8, 16, 24)


def dataset(shape=SHAPE, spacing_mm=(1.0, 1.0, 1.0)) -> DatasetPlan:
    return DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), spacing_mm, shape, False, ("MRI",), ("zscore",), (False,),
                       ({},))


def variant(name: str, **settings) -> Patch3dVariant:
    section = EncoderPlan("tiny", 64, SHAPE[1:], 0.5, "repeat", 4, "float16", 0, 1,
                          patches_3d=Patch3dPlan(SHAPE, (2, 4, 4), 1, False, 0))
    torch.manual_seed(0)
    context = VariantContext(LABELS, dataset(), section, {}, settings=built_settings(name, settings))
    found = variant_class(name)(context)
    assert isinstance(found, Patch3dVariant)
    return found


def test_the_3d_u_net_has_its_own_patch() -> None:
    # 16 -> 8 -> 4 and 24 -> 12 -> 6; 8 -> 4.
    found = variant("unet_3d")
    assert found.patch == (8, 16, 24) and found.slices == 8 and found.batch_size(found.context) == 2


@pytest.mark.parametrize(("name", "settings", "rate"), [
    ("unet_3d", {}, 1e-2), ("ux_net", {"width": 4}, 5e-3), ("nnformer", {"width": 12}, 3e-2)])
def test_one_volume_is_learned(name: str, settings, rate: float) -> None:
    of_name, segmentation = variant(name, **settings), torch.zeros(1, *SHAPE, dtype=torch.long)
    segmentation[:, 2:6, 4:12, 4:14] = 1
    noise = np.random.default_rng(0).normal(0, 0.2, (1, 1, *SHAPE)).astype(np.float32)
    image = segmentation[:, None] * 2.0 + torch.from_numpy(noise)
    optimization = Optimization(of_name, torch.device("cpu"))
    losses = []
    for iteration in range(8):
        torch.manual_seed(iteration)
        losses.append(optimization.step(image, segmentation, rate))
    assert np.mean(losses[-2:]) < 0.9 * np.mean(losses[:2])
    of_name.network.eval()
    with torch.no_grad():
        assert of_name.logits(image).shape == (1, 2, *SHAPE)


def test_without_monai_the_message_names_the_extra(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "monai.networks.nets.swin_unetr", None)
    monkeypatch.setitem(sys.modules, "monai", None)
    with pytest.raises(UserError, match=r"(?s)needs the package monai.*samunet\[monai\]"):
        variant("swin_unetr")


def test_swin_unetr_has_the_published_parameters() -> None:
    nets = pytest.importorskip("monai.networks.nets")
    network = nets.SwinUNETR(1, 14, feature_size=48)
    assert sum(each.numel() for each in network.parameters()) == 62_187_296  # 62.2 M in the table of 3D UX-Net


def test_widths_are_multiples_of_the_heads() -> None:
    with pytest.raises(UserError, match="multiple"):
        built_settings("nnformer", {"width": 20})
