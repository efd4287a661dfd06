"""3d_adapter_box on the shipped encoder at 64 pixels: how boxes become classes, and what is trained."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from samunet.dataset.geometry import Geometry
from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.inference.predictor import predict_case
from samunet.inputs.boxes import NO_BOX, BoxStacks
from samunet.networks.checkpoints.encoders import Encoder, load_encoder
from samunet.planning.plans import AdapterPlan, DatasetPlan, EncoderPlan, Plans
from samunet.preprocessing.case import CaseProperties, PreparedCase
from samunet.preprocessing.prompts.case_prompts import CasePrompts, LabelPrompts
from samunet.variants.adapter_3d_box import Adapter3dBoxVariant
from samunet.variants.base import VariantContext
from samunet.variants.prompted import ABSENT

LABELS = LabelSpace({"background": 0, "a": 1, "b": 2})
REGIONS = LabelSpace({"background": 0, "whole": (1, 2), "core": 2}, (1, 2))
DATASET = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (1.0, 1.0, 1.0), (4, 32, 24), False, ("MRI",), ("zscore",),
                      (False,), ({},))
SECTION = EncoderPlan("mini-3", 64, (32, 24), 0.5, "repeat", 4, "float16", 0, 1, adapters=AdapterPlan(3))


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder("mini", 64)


def variant(encoder: Encoder, labels: LabelSpace = LABELS) -> Adapter3dBoxVariant:
    torch.manual_seed(0)
    return Adapter3dBoxVariant(VariantContext(labels, DATASET, SECTION, encoder.sam_state, encoder))


def stacks() -> BoxStacks:
    """Two stacks of three slices; the first has two boxes of `b` and one of `a`, the second one of `a` on its last
    slice.
    """
    pictures = torch.randn(2, 3, 1, 3, 64, 48, generator=torch.Generator().manual_seed(1))
    boxes = torch.full((2, 3, 3, 4), torch.nan)
    boxes[0, :, :2] = torch.tensor([[4.0, 4.0, 30.0, 30.0], [30.0, 30.0, 48.0, 60.0], [10.0, 20.0, 44.0, 40.0]])[:,
                                                                                                                 None]
    boxes[1, 0, 2] = torch.tensor([8.0, 8.0, 40.0, 40.0])
    return BoxStacks(pictures, boxes, torch.tensor([[2, 2, 1], [1, NO_BOX, NO_BOX]]))


@pytest.mark.parametrize(("labels", "background"), [(LABELS, True), (REGIONS, False)])
def test_a_class_is_the_most_of_its_boxes_and_absent_without_any(encoder: Encoder, labels, background) -> None:
    made, inputs = variant(encoder, labels), stacks()
    if not background:  # channels of regions count from 0
        inputs = replace(inputs, channels=torch.where(inputs.channels == NO_BOX, NO_BOX, inputs.channels - 1))
    made.network.eval()
    with torch.no_grad():
        masks = made.network(inputs.images, inputs.boxes)
        tile = torch.nn.functional.interpolate(masks.flatten(0, 1), (32, 24), mode="bilinear").view(2, 3, 3, 32, 24)
        logits = made.logits(inputs)
    assert logits.shape == (2, 3 if background else 2, 3, 32, 24)
    if background:
        assert not logits[:, 0].any()
    a, b = logits[:, -2], logits[:, -1]
    torch.testing.assert_close(b[0, :2], torch.maximum(tile[0, 0, :2], tile[0, 1, :2]))
    torch.testing.assert_close(a[0, :2], tile[0, 2, :2])
    torch.testing.assert_close(a[1, 2], tile[1, 0, 2])
    assert (logits[0, -2:, 2] == ABSENT).all() and (a[1, :2] == ABSENT).all() and (b[1] == ABSENT).all()


def test_boxes_of_other_slices_and_classes_do_not_matter(encoder: Encoder) -> None:
    made, inputs = variant(encoder), stacks()
    made.network.eval()
    moved = inputs.boxes.clone()
    moved[0, 2, 0] += 9.0  # `a` on the first slice
    with torch.no_grad():
        before, after = made.logits(inputs), made.logits(replace(inputs, boxes=moved))
    assert not torch.allclose(before[0, 1, 0], after[0, 1, 0])
    torch.testing.assert_close(before[0, 1, 1:], after[0, 1, 1:])
    torch.testing.assert_close(before[0, 2], after[0, 2])
    torch.testing.assert_close(before[1], after[1])


def test_what_is_frozen_stays_and_all_the_rest_gets_gradients(encoder: Encoder) -> None:
    made, inputs = variant(encoder), stacks()
    # As after some training: while V is zero, U and what is between them have no gradient.
    torch.nn.init.normal_(made.network.encoder.factors.up.weight, std=0.1)
    before = copy.deepcopy(made.network.state_dict())
    trained = {name: each for name, each in made.network.named_parameters() if each.requires_grad}
    segmentation = torch.zeros(2, 3, 32, 24, dtype=torch.long)
    segmentation[0, :2, 2:14, 2:14], segmentation[0, :2, 16:28, 12:24], segmentation[1, 2, 5:18, 5:18] = 2, 1, 1
    made.network.train()
    optimizer, largest = made.optimizer(list(trained.values())), dict.fromkeys(trained, 0.0)
    for _ in range(2):
        optimizer.zero_grad()
        made.loss(made.outputs(inputs), segmentation).backward()
        for name, each in trained.items():
            largest[name] = max(largest[name], 0.0 if each.grad is None else float(each.grad.abs().max()))
        optimizer.step()
    after = made.network.state_dict()
    assert all(torch.equal(tensor, after[f"encoder.encoder.{name}"])
               for name, tensor in encoder.module.state_dict().items())
    # What shifts all scores of a softmax alike changes nothing: a bias of all keys.
    starved = {name for name, gradient in largest.items() if gradient < 1e-7}
    assert starved == {name for name in largest if name.endswith("k_proj.bias")} and len(starved) == 7
    assert [name for name in trained if "corners" in name or "mask_downscaling" in name or "no_mask" in name]
    assert {name for name in trained if torch.equal(before[name], after[name])} == set()


def test_stacks_without_any_box_have_a_loss_of_no_gradient(encoder: Encoder) -> None:
    made = variant(encoder)
    made.network.train()
    inputs = replace(stacks(), boxes=torch.full((2, 3, 3, 4), torch.nan))
    made.loss(made.outputs(inputs), torch.zeros(2, 3, 32, 24, dtype=torch.long)).backward()
    assert all(each.grad is None or not each.grad.any() for each in made.network.parameters())


def case_of(image: np.ndarray, prompts: CasePrompts | None) -> PreparedCase:
    shape = image.shape[1:]
    properties = CaseProperties("made", Geometry("SimpleITKIO", shape, (1.0, 1.0, 1.0)), shape,
                                tuple((0, size) for size in shape), shape, shape, ((-2.0, 2.0),), "", None, {})
    return PreparedCase(image, None, properties, prompts)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_mirrored_case_mirrored_once_more_is_the_case(encoder: Encoder, axis: int) -> None:
    """On a tile twice as high as wide, whose canvas is the left half of the square: it is cut from what is mirrored
    already.
    """
    section = replace(SECTION, tile_shape=(32, 16))
    context = VariantContext(LABELS, DATASET, section, encoder.sam_state, encoder)
    made, plans = Adapter3dBoxVariant(context), Plans("p", "d", DATASET, {"mini-3": section})
    image = np.random.default_rng(0).standard_normal((1, 3, 32, 16)).astype(np.float32)
    box = np.array([[[0.0, 4.0, 2.0], [2.0, 20.0, 9.0]]])
    flipped = box.copy()  # rows 12 to 28, or columns 7 to 14
    flipped[0, :, axis + 1] = (32, 16)[axis] - box[0, ::-1, axis + 1]
    mirrored = case_of(np.flip(image, axis + 2).copy(), {1: LabelPrompts(boxes=flipped)})
    clean = made.inputs_of(case_of(image, {1: LabelPrompts(boxes=box)}), plans, encoder)
    again = made.inputs_of(mirrored, plans, encoder, mirror=(axis,))
    here, there = (inputs.read([(0, tile) for tile in range(len(inputs.frame.starts))]) for inputs in (clean, again))
    assert here.images.shape[-2:] == (64, 32) and here.boxes[0, 0, 0].tolist() == [4.0, 8.0, 18.0, 40.0]
    torch.testing.assert_close(there.images, here.images, rtol=0, atol=0)
    torch.testing.assert_close(there.boxes, here.boxes, rtol=0, atol=0, equal_nan=True)


def test_slices_that_no_box_reaches_are_background(encoder: Encoder) -> None:
    shape = (5, 32, 24)
    image = np.random.default_rng(0).standard_normal((1, *shape)).astype(np.float32)
    made, plans = variant(encoder), Plans("p", "d", DATASET, {"mini-3": SECTION})
    prompts = {1: LabelPrompts(boxes=np.array([[[1.0, 4.0, 4.0], [3.0, 20.0, 20.0]]]))}
    slabs = predict_case([made], case_of(image, prompts), plans, encoder)
    logits = np.concatenate([slab for _, slab in slabs], axis=1)
    assert logits.shape == (3, *shape) and not logits[0].any()
    np.testing.assert_allclose(logits[1, [0, 3, 4]], ABSENT, rtol=1e-5)
    np.testing.assert_allclose(logits[2], ABSENT, rtol=1e-5)
    assert logits[1, 1:3].std() > 0
    with pytest.raises(UserError, match="(?s)needs prompts.*made"):
        list(predict_case([made], case_of(image, None), plans, encoder))
