"""Predictions of toy heads whose logits a person can compute."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from samunet.dataset.geometry import Geometry
from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.inference.predictor import predict_case
from samunet.networks.checkpoints.encoders import Encoder
from samunet.planning.encoder_spec import EncoderSpec
from samunet.planning.plans import DatasetPlan, EncoderPlan, Plans
from samunet.planning.tiles import TileFrame
from samunet.preprocessing.case import CaseProperties, PreparedCase
from samunet.variants.base import Baseline, VariantContext
from samunet.variants.kinds import EmbeddingVariant

LABELS = LabelSpace({"background": 0, "a": 1})
DATASET = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (1.0, 1.0, 1.0), (3, 4, 6), False, ("MRI",), ("zscore",),
                      (False,), ({},))
ENCODER = EncoderPlan("untrained", 64, (4, 4), 0.5, "repeat", 4, "float16", 0, 1)
PLANS = Plans("samunetPlans", "Dataset900_Phantom", DATASET, {"untrained": ENCODER})
CONTEXT = VariantContext(LABELS, DATASET, ENCODER, {})


class Scale(nn.Module):
    """Logits: background 0, class 1 the first embedding channel times `factor`."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))

    def forward(self, embeddings):
        first = embeddings[:, :1] * self.factor
        return torch.cat([torch.zeros_like(first), first], 1)


class ScaleVariant(EmbeddingVariant):
    def build_network(self) -> nn.Module:
        return Scale()


class ConstantVariant(Baseline):
    value = 0.0

    def fit(self, cases) -> None: ...

    def predict(self, case):
        return torch.full((2, *case.image.shape[1:]), self.value)

    def state(self):
        return {}

    def load_state(self, state) -> None: ...


class MadeEmbeddings:
    """Slice z of every tile is embedded as the constant z; counts its reads."""

    def __init__(self, depth: int) -> None:
        self.frame, self.depth, self.picks = TileFrame((4, 6), (4, 4), 0.5), depth, []

    def read(self, picks):
        self.picks.extend(picks)
        return torch.tensor([float(slice_) for slice_, _ in picks]).view(-1, 1, 1, 1).expand(-1, 256, 4, 4)


def made_case(shape=(3, 4, 6)) -> PreparedCase:
    image = np.random.default_rng([3]).normal(size=(1, *shape)).astype(np.float32)
    properties = CaseProperties("made", Geometry("SimpleITKIO", shape, (1.0, 1.0, 1.0)), shape,
                                tuple((0, size) for size in shape), shape, shape, ((-2.0, 2.0),), "", None, {})
    return PreparedCase(image, None, properties)


def scaled(factor: float) -> ScaleVariant:
    variant = ScaleVariant(CONTEXT)
    variant.load_state({"factor": torch.tensor(factor)})
    return variant


def joined(slabs) -> np.ndarray:
    return np.concatenate([slab for _, slab in slabs], axis=1)


def test_folds_are_averaged_as_logits_and_embeddings_read_once():
    embeddings = MadeEmbeddings(3)
    logits = joined(predict_case([scaled(1.0), scaled(4.0)], made_case(), PLANS, None, embeddings=embeddings))
    assert logits.shape == (2, 3, 4, 6) and logits.dtype == np.float32
    assert not logits[0].any()
    for slice_ in range(3):
        np.testing.assert_allclose(logits[1, slice_], 2.5 * slice_, rtol=1e-6)
    assert embeddings.picks == [(slice_, tile) for slice_ in range(3) for tile in range(2)]


def test_networks_are_in_eval_mode_and_keep_no_graph():
    variant = scaled(1.0)
    variant.network.train()
    slabs = list(predict_case([variant], made_case(), PLANS, None, embeddings=MadeEmbeddings(3)))
    assert len(slabs) == 3 and not variant.network.training
    assert variant.network.factor.grad is None
    assert not torch.is_inference_mode_enabled()


def test_inference_mode_does_not_leak_between_slabs():
    slabs = predict_case([scaled(1.0)], made_case(), PLANS, None, embeddings=MadeEmbeddings(3))
    next(slabs)
    assert not torch.is_inference_mode_enabled()


def test_comparators_give_one_slab():
    low, high = ConstantVariant(CONTEXT), ConstantVariant(CONTEXT)
    high.value = 3.0
    [(first, logits)] = predict_case([low, high], made_case(), PLANS, None)
    assert first == 0 and logits.shape == (2, 3, 4, 6)
    np.testing.assert_allclose(logits, 1.5)


@pytest.mark.parametrize("arguments", [{}, {"embeddings": MadeEmbeddings(3), "tta": True}])
def test_missing_encoder_is_reported(arguments):
    with pytest.raises(UserError, match="encoder is needed"):
        list(predict_case([scaled(1.0)], made_case(), PLANS, None, **arguments))


class Ramp(nn.Module):
    """Sees nothing: every embedding is 0, 1, 2, 3 along its columns."""

    def __init__(self) -> None:
        super().__init__()
        self.dummy = nn.Parameter(torch.zeros(()))

    def forward(self, images):
        return torch.arange(4.0).expand(len(images), 256, 4, 4)


class Pooled(Ramp):
    """Sees the mean intensity of each 16 x 16 patch, so a mirrored image has the mirrored embedding."""

    def forward(self, images):
        return nn.functional.avg_pool2d(images[:, :1], 16).expand(-1, 256, -1, -1)


def made_encoder(module: nn.Module) -> Encoder:
    return Encoder(EncoderSpec("untrained", "mini", "medsam", 64), module, {}, "")


def test_mirrored_logits_are_flipped_back_and_averaged():
    # Unmirrored and row-mirrored tiles give the ramp, the two mirrored along columns give it reversed: 1.5 everywhere.
    case, encoder = made_case((3, 4, 4)), made_encoder(Ramp())
    plain = joined(predict_case([scaled(1.0)], case, PLANS, encoder))
    mirrored = joined(predict_case([scaled(1.0)], case, PLANS, encoder, tta=True))
    np.testing.assert_allclose(plain[1, 0, 0], [0, 1, 2, 3], rtol=1e-6)
    np.testing.assert_allclose(mirrored[1], 1.5, rtol=1e-6)


def test_mirroring_changes_nothing_for_an_encoder_that_mirrors_with_the_image():
    case, encoder = made_case((2, 5, 7)), made_encoder(Pooled())
    plain = joined(predict_case([scaled(1.0)], case, PLANS, encoder))
    mirrored = joined(predict_case([scaled(1.0)], case, PLANS, encoder, tta=True))
    assert plain[1].std() > 0.1
    np.testing.assert_allclose(mirrored, plain, atol=1e-5)


def test_the_step_can_be_given():
    case, encoder = made_case((1, 4, 8)), made_encoder(Ramp())
    # Tiles of four columns from 0 and 4: two ramps side by side.
    logits = joined(predict_case([scaled(1.0)], case, PLANS, encoder, step=1.0))
    np.testing.assert_allclose(logits[1, 0, 0], [0, 1, 2, 3, 0, 1, 2, 3], atol=1e-6)


def test_members_follow_the_mean_fold_after_fold_and_leave_its_bytes():
    case, encoder = made_case((3, 4, 4)), made_encoder(Ramp())
    folds = [scaled(1.0), scaled(4.0)]
    mean = joined(predict_case(folds, case, PLANS, encoder, tta=True))
    found = joined(predict_case(folds, case, PLANS, encoder, tta=True, members=True))
    np.testing.assert_array_equal(found[:2], mean)
    # Of each fold unmirrored, along rows, along columns, along both; the last two give the ramp reversed.
    ramp, reversed_ramp = np.array([0, 1, 2, 3]), np.array([3, 2, 1, 0])
    expected = [factor * each for factor in (1, 4) for each in (ramp, ramp, reversed_ramp, reversed_ramp)]
    np.testing.assert_allclose(found[3::2, 0, 0], expected, atol=1e-6)
    assert not found[2::2].any()


def test_members_of_a_baseline():
    low, high = ConstantVariant(CONTEXT), ConstantVariant(CONTEXT)
    high.value = 3.0
    [(_, logits)] = predict_case([low, high], made_case(), PLANS, None, members=True)
    np.testing.assert_allclose(logits[:, 0, 0, 0], [1.5, 1.5, 0, 0, 3, 3])
