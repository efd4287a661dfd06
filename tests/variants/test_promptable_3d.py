"""3d_promptable and its automatic form on an untrained, tiny encoder: learning, seeds, windows, labels, channels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from samunet.dataset.geometry import Geometry
from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.inference.predictor import predict_case
from samunet.inputs.batches import Batch, Batches
from samunet.inputs.patches_3d import Patch3dAugmentation, Patch3dSamples
from samunet.inputs.sampling import LabelSlices, Sampler
from samunet.networks.checkpoints.encoders import Encoder
from samunet.networks.image_encoder import ImageEncoder
from samunet.planning.encoder_spec import EncoderSpec
from samunet.planning.plans import DatasetPlan, EncoderPlan, Patch3dPlan, Plans
from samunet.planning.tiles import TileFrame
from samunet.preprocessing.case import CaseProperties, PreparedCase
from samunet.preprocessing.prompts.case_prompts import CasePrompts, LabelPrompts
from samunet.training.checkpoints import LATEST
from samunet.training.trainer import Optimization, train
from samunet.variants.base import VariantContext
from samunet.variants.click_rounds import loss_of_rounds
from samunet.variants.feature_windows import FeatureWindows
from samunet.variants.patch3d_kind import Patch3dVariant
from samunet.variants.prediction import Reading
from samunet.variants.promptable_3d import Promptable3dSettings, Promptable3dVariant
from samunet.variants.promptable_3d_auto import Promptable3dAutoVariant

LABELS = LabelSpace({"background": 0, "a": 1, "b": 2})
REGIONS = LabelSpace({"background": 0, "whole": (1, 2), "core": 2}, (1, 2))
SHAPE, PATCH, TOKEN = (12, 24, 24), (8, 16, 16), (2, 4, 4)


def encoder() -> Encoder:
    torch.manual_seed(5)
    module = ImageEncoder(64, 16, 32, 4, 1, 0, (), 16).requires_grad_(False).eval()
    torch.nn.init.normal_(module.pos_embed, std=0.02)
    return Encoder(EncoderSpec("tiny", "vit_32x4", "mini", 64), module, {}, "0" * 64)


ENCODER = encoder()


def context(labels: LabelSpace = LABELS, channels: int = 1, patch=PATCH, token=TOKEN) -> VariantContext:
    dataset = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (1.0, 1.0, 1.0), SHAPE, False, ("MRI",) * channels,
                          ("zscore",) * channels, (False,) * channels, ({},) * channels)
    section = EncoderPlan("tiny", 64, SHAPE[1:], 0.5, "repeat", 4, "float16", 0, 1,
                          patches_3d=Patch3dPlan(patch, token, 2, False, 0))
    return VariantContext(labels, dataset, section, {}, ENCODER)


def promptable(labels: LabelSpace = LABELS, **more) -> Promptable3dVariant:
    torch.manual_seed(0)
    return Promptable3dVariant(context(labels, **more))


def segmentation() -> np.ndarray:
    made = np.zeros(SHAPE, np.int16)
    made[3:9, 5:13, 5:13], made[3:9, 14:21, 13:21] = 1, 2
    return made


def image(channels: int = 1) -> np.ndarray:
    noise = np.random.default_rng(3).normal(0, 0.2, (channels, *SHAPE))
    return (np.array([-0.5, 1.0, 2.0])[segmentation()] + noise).astype(np.float32)


def case(prompts: CasePrompts | None, channels: int = 1, start: np.ndarray | None = None) -> PreparedCase:
    box = tuple((0, side) for side in SHAPE)
    grid = Geometry((1.0, 1.0, 1.0), (0.0, 0.0, 0.0), tuple(np.eye(3).ravel()))
    properties = CaseProperties("one", grid, SHAPE, box, SHAPE, SHAPE, ((0.0, 1.0),), "", None, {})
    return PreparedCase(image(channels), None, properties, prompts, start)


def batches(variant: Patch3dVariant, augmentation: Patch3dAugmentation | None = None) -> Batches:
    frame = TileFrame(SHAPE[1:], SHAPE[1:], 1.0)
    slices = [LabelSlices.build(segmentation(), frame, variant.labels)]
    channels = len(variant.context.dataset_plan.channel_names)
    patches = Patch3dSamples(["one"], lambda name: image(channels), slices, variant.labels,
                             augmentation or Patch3dAugmentation(variant.plan.shape, flat=False))
    return Batches(["one"], Sampler(slices, variant.labels, 2, 0, 1.0), variant.samples(patches))


class AsTheyAre(Patch3dAugmentation):
    """No augmentation: fewer iterations suffice."""

    def __call__(self, image, labels, random, key):
        return torch.from_numpy(image), torch.from_numpy(labels).long()


def trained(variant: Patch3dVariant, iterations: int) -> Iterator[float]:
    optimization = Optimization(variant, torch.device("cpu"))
    made = batches(variant, AsTheyAre(variant.plan.shape, flat=False))
    for iteration in range(iterations):
        torch.manual_seed(iteration)
        batch: Batch = made.read(iteration)
        yield optimization.step(batch.inputs, batch.segmentation, 1e-2 * (1 - iteration / iterations))
    variant.network.eval()


def reading(variant: Patch3dVariant) -> Reading:
    context = variant.context
    return Reading(Plans("tiny", "Dataset001_Tiny", context.dataset_plan, {"tiny": context.encoder_plan}), ENCODER)


def predicted(variant: Patch3dVariant, of: PreparedCase) -> np.ndarray:
    return np.concatenate([slab for _, slab in predict_case([variant], of, reading(variant).plans, ENCODER)], 1)


def dice(found: np.ndarray, truth: np.ndarray) -> float:
    return float(2 * (found & truth).sum() / (found.sum() + truth.sum()))


CLICKS = {1: LabelPrompts(points=np.array([[6.5, 9.5, 9.5]])), 2: LabelPrompts(points=np.array([[6.5, 17.5, 17.5]]))}


def test_one_volume_is_learned_and_each_label_comes_from_one_click() -> None:
    variant = promptable(patch=SHAPE)
    losses = list(trained(variant, 40))
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])
    found = predicted(variant, case(CLICKS)).argmax(0)
    assert dice(found == 1, segmentation() == 1) > 0.8 and dice(found == 2, segmentation() == 2) > 0.8
    # Only what is prompted is answered, and a case without prompts is empty.
    one = predicted(variant, case({1: CLICKS[1]})).argmax(0)
    assert dice(one == 1, segmentation() == 1) > 0.8 and not (one == 2).any()
    assert not predicted(variant, case({})).argmax(0).any()


def test_the_automatic_form_learns_the_same_volume() -> None:
    torch.manual_seed(0)
    variant = Promptable3dAutoVariant(context(patch=SHAPE))
    list(trained(variant, 20))
    found = predicted(variant, case(None)).argmax(0)
    assert dice(found == 1, segmentation() == 1) > 0.8 and dice(found == 2, segmentation() == 2) > 0.8


def test_training_gives_the_same_bytes_and_resumes_with_them(tmp_path) -> None:
    states = []
    for sittings in ((4,), (2, 4)):
        variant, folder = promptable(), tmp_path / str(len(sittings))
        folder.mkdir()
        for iterations in sittings:
            if iterations == 2:  # stopped after two of four
                _stopped(variant, folder)
            else:
                variant = promptable()
                train(variant, batches(variant), 4, folder, torch.device("cpu"))
        states.append(variant.state())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def _stopped(variant: Promptable3dVariant, folder) -> None:
    """Train two of four iterations and save as an interrupted run does."""
    from samunet.training import trainer
    from samunet.training.checkpoints import Progress, save_latest

    optimization, made = Optimization(variant, torch.device("cpu")), batches(variant)
    for iteration in range(2):
        rate = trainer.poly_learning_rate(variant.learning_rate, iteration, 4)
        trainer._iterate(optimization, made.seed, made.read(iteration), rate)
    save_latest(folder / LATEST, variant, optimization.optimizer, optimization.scaler, Progress(2, 0.0))


def test_nothing_of_the_encoder_is_in_the_checkpoint() -> None:
    variant = promptable()
    state = variant.state()
    assert "promptable.encoder.blocks.0.adapter.up.weight" in state
    assert not any("mlp.lin1" in name or "qkv" in name or name.endswith("pos_embed") for name in state)
    torch.manual_seed(1)
    other = Promptable3dVariant(context())
    other.load_state(state)
    assert all(torch.equal(other.state()[name], tensor) for name, tensor in state.items())


def test_every_round_counts_and_unknown_voxels_do_not() -> None:
    target, counts = torch.zeros(1, 1, 1, 4), torch.tensor([[[[1.0, 1, 1, 0]]]])
    target[..., 0] = 1
    right, wrong = torch.tensor([[[[50.0, -50, -50, 50]]]]), torch.tensor([[[[-50.0, -50, -50, -50]]]])
    assert loss_of_rounds([right, target, counts]).item() == pytest.approx(0, abs=1e-5)
    # Missed: Dice loss 1, cross entropy 50 over three voxels; half of each.
    assert loss_of_rounds([wrong, target, counts]).item() == pytest.approx((1 + 50 / 3) / 2, rel=1e-4)
    both: list[Tensor] = [right, wrong, target, counts]
    assert loss_of_rounds(both).item() == pytest.approx((1 + 50 / 3) / 4, rel=1e-4)


def test_rounds_are_a_setting() -> None:
    torch.manual_seed(0)
    variant = Promptable3dVariant(replace(context(), settings=Promptable3dSettings(rounds=2)))
    batch = batches(variant).read(0)
    assert len(variant.outputs(batch.inputs)) == 2 + 2


def test_features_are_computed_once_and_prompts_answered_from_them() -> None:
    variant = promptable()
    variant.network.eval()
    answers = variant.answers_of([variant], case(None), reading(variant))
    calls: list[int] = []
    variant.network.promptable.encoder.register_forward_hook(lambda *_: calls.append(1))
    with torch.inference_mode():
        first = answers.answer({1: CLICKS[1]}, None)
        second = answers.answer(CLICKS, np.stack([first[1] > 0, first[2] > 0]))
    assert not calls and np.array_equal(second[1], first[1])


def test_points_outside_a_window_keep_the_features_of_their_own() -> None:
    """A window sees the clicks in it; where no positive one is, the nearest one, with the token of its own window."""
    variant = promptable()
    features = FeatureWindows([variant.network.promptable.eval()], image())
    # Windows begin at 0, 4 along z; at 0, 8 along y and x.
    prompts = LabelPrompts(points=np.array([[2.5, 3.5, 3.5], [2.5, 4.5, 9.5]]), positive=np.array([True, False]))
    assert features._seen((0, 0, 0), prompts).tolist() == [True, True]
    assert features._seen((1, 1, 1), prompts).tolist() == [True, False]
    tokens = features._tokens(0, (1, 1, 1), prompts.points[:1])
    home = features._features((0, 0, 0))[0]
    assert torch.equal(tokens, variant.network.promptable.tokens_at(home.last, torch.tensor([[[2.5, 3.5, 3.5]]])))


def test_folds_are_averaged() -> None:
    one, two = promptable(), promptable()
    torch.manual_seed(9)
    for parameter in two.network.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1)
    prompts, empty = CLICKS[1], np.zeros(PATCH, bool)
    alone = [FeatureWindows([each.network.promptable.eval()], image()).logits((0, 0, 0), 0, prompts, empty)
             for each in (one, two)]
    both = FeatureWindows([one.network.promptable, two.network.promptable], image())
    assert np.allclose(both.logits((0, 0, 0), 0, prompts, empty), (alone[0] + alone[1]) / 2, atol=1e-6)


@pytest.mark.parametrize(("labels", "channels"), [(REGIONS, 1), (LABELS, 2), (LABELS, 5)])
def test_regions_and_several_channels(labels: LabelSpace, channels: int) -> None:
    variant = promptable(labels, channels=channels)
    assert np.isfinite(list(trained(variant, 1))).all()
    prompts = {labels.foreground[1]: CLICKS[2]}
    logits = predicted(variant, case(prompts, channels))
    assert logits.shape == (labels.channels, *SHAPE) and np.isfinite(logits).all()
    assert (logits[-2] == -10).all()  # of which nothing was said


def test_a_start_mask_is_corrected_and_otherwise_stays() -> None:
    variant = promptable()
    start = np.zeros((2, *SHAPE), bool)
    start[1, 0, 0, :3] = True
    found = predicted(variant, case({1: CLICKS[1]}, start=start))
    assert np.array_equal(found.argmax(0) == 2, start[1] & (found[1] < found[2]))
    assert (found[2] > 0).sum() == 3


def test_one_slice_is_a_volume_of_one() -> None:
    variant = promptable(patch=(1, 16, 16), token=(1, 4, 4))
    assert np.isfinite(list(trained(variant, 1))).all()


def test_without_prompts_it_says_how_to_give_some() -> None:
    with pytest.raises(UserError, match="needs prompts"):
        predicted(promptable(), case(None))
