"""SAM's answers beside segment-anything's own modules with equal weights; how masks compete, by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.networks.checkpoints.encoders import Encoder
from samunet.networks.prompts import SURE, inscribed_ellipses
from samunet.networks.sam import build_mask_decoder, build_prompt_encoder
from samunet.planning.encoder_spec import EncoderSpec
from samunet.planning.plans import DatasetPlan, EncoderPlan
from samunet.planning.tiles import TileFrame
from samunet.preprocessing.prompts.case_prompts import LabelPrompts
from samunet.variants import sam_zeroshot
from samunet.variants.answers import REFUSED
from samunet.variants.base import VariantContext
from samunet.variants.sam_zeroshot import SamZeroshotVariant

SIZE, TILE = 64, (24, 32)  # two pixels of the input for each voxel
PLAIN = LabelSpace({"background": 0, "a": 1, "b": 2})
REGIONS = LabelSpace({"background": 0, "whole": (1, 2), "core": 2}, (1, 2))
DATASET = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (1.0, 1.0, 1.0), (3, 24, 32), False, ("MRI",), ("zscore",),
                      (False,),
                      ({},))
SECTION = EncoderPlan("made", SIZE, TILE, 0.5, "repeat", 4, "float16", 0, 1)


class MadeEmbeddings:
    """A drawn embedding for each (slice, tile); counts its reads."""

    def __init__(self, shape: tuple[int, int] = TILE, depth: int = 3, channels: int = 256) -> None:
        self.frame, self.depth, self.channels = TileFrame(shape, TILE, 0.5), depth, channels
        self.picks: list[tuple[int, int]] = []

    def read(self, picks: Sequence[tuple[int, int]]) -> Tensor:
        self.picks += picks
        return torch.stack([torch.randn(self.channels, 4, 4,
                                        generator=torch.Generator().manual_seed(100 * slice_ + tile))
                            for slice_, tile in picks])


@pytest.fixture(scope="module")
def sam() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return build_prompt_encoder(SIZE).requires_grad_(False), build_mask_decoder().eval().requires_grad_(False)


def variant(sam, size: str = "vit_b", labels: LabelSpace = PLAIN, dataset: DatasetPlan = DATASET) -> SamZeroshotVariant:
    state = {f"{prefix}.{name}": tensor for prefix, module in zip(("prompt_encoder", "mask_decoder"), sam, strict=True)
             for name, tensor in module.state_dict().items()}
    encoder = Encoder(EncoderSpec("made", size, "sam", SIZE), nn.Linear(1, 1), state, "")
    return SamZeroshotVariant(VariantContext(labels, dataset, SECTION, {}, encoder))


def theirs(sam, embedding: Tensor, **prompt) -> Tensor:
    """A mask at the tile's voxels, by the calls that segment-anything's SamPredictor makes."""
    prompts, decoder = sam
    sparse, dense = prompts(**{"points": None, "boxes": None, "masks": None, **prompt})
    masks, _ = decoder(image_embeddings=embedding[None], image_pe=prompts.get_dense_pe(),
                       sparse_prompt_embeddings=sparse,
                       dense_prompt_embeddings=dense, multimask_output=False)
    assert masks.shape == (1, 1, 16, 16)
    return nn.functional.interpolate(masks, (32, 32), mode="bilinear", align_corners=False)[0, 0, :24]


POINTS = np.array([[1.5, 3.5, 4.5], [1.5, 20.5, 30.5], [2.5, 7.5, 8.5]])
BOX = np.array([[[0.0, 2.0, 3.0], [2.0, 10.0, 17.0]]])


def test_points_are_answered_as_segment_anything_does(sam) -> None:
    embeddings = MadeEmbeddings()
    logits, asked = variant(sam).answers({1: LabelPrompts(points=POINTS)}, embeddings, [(0, 0), (1, 0), (2, 0)])
    assert asked.tolist() == [[True, False, False], [True, True, False], [True, True, False]] and not logits[:, 0].any()
    # x before y; two pixels a voxel; SAM adds the half pixel itself.
    both = torch.tensor([[[8.5, 6.5], [60.5, 40.5]]]), torch.ones(1, 2)
    expected = theirs(sam, MadeEmbeddings().read([(1, 0)])[0], points=both)
    torch.testing.assert_close(logits[1, 1], expected, rtol=1e-4, atol=1e-5)
    expected = theirs(sam, MadeEmbeddings().read([(2, 0)])[0],
                      points=(torch.tensor([[[16.5, 14.5]]]), torch.ones(1, 1)))
    torch.testing.assert_close(logits[2, 1], expected, rtol=1e-4, atol=1e-5)
    assert embeddings.picks == [(1, 0), (2, 0)]  # nothing is encoded where nobody asks


@pytest.mark.parametrize("size", ["vit_b", "mini"])
def test_a_box_is_answered_as_segment_anything_does_and_of_mini_with_its_ellipse(sam, size, monkeypatch) -> None:
    mended: list[torch.Tensor] = []  # the boxes whose answers are mended; test_box_answer.py tests how

    def kept(answers: torch.Tensor, boxes: torch.Tensor, scale: float) -> torch.Tensor:
        assert scale == 2.0  # 64 pixels over a tile of 32 voxels
        mended.extend(boxes)
        return answers

    monkeypatch.setattr(sam_zeroshot, "answer_in_box", kept)
    logits, asked = variant(sam, size).answers({2: LabelPrompts(boxes=BOX)}, MadeEmbeddings(), [(0, 0), (1, 0), (2, 0)])
    assert asked.tolist() == [[True, False, True], [True, False, True], [True, False, False]]
    box = torch.tensor([[6.0, 4.0, 34.0, 20.0]])
    ellipse = torch.where(inscribed_ellipses(box, 16, 4), SURE, -SURE)[:, None] if size == "mini" else None
    for slice_ in (0, 1):  # the same box on every slice that it holds
        expected = theirs(sam, MadeEmbeddings().read([(slice_, 0)])[0], boxes=box, masks=ellipse)
        torch.testing.assert_close(logits[slice_, 2], expected, rtol=1e-4, atol=1e-5)
    assert [each.tolist() for each in mended] == (box.tolist() * 2 if size == "mini" else [])


def test_points_of_one_class_are_one_question_and_boxes_join_by_their_maximum(sam) -> None:
    boxes = np.concatenate([BOX, BOX + [0, 8, 10]])
    both, _ = variant(sam).answers({1: LabelPrompts(POINTS[:1] - [1, 0, 0], boxes)}, MadeEmbeddings(), [(0, 0)])
    alone = [variant(sam).answers({1: each}, MadeEmbeddings(), [(0, 0)])[0][0, 1]
             for each in (LabelPrompts(POINTS[:1] - [1, 0, 0]), LabelPrompts(boxes=boxes[:1]),
                          LabelPrompts(boxes=boxes[1:]))]
    torch.testing.assert_close(both[0, 1], torch.stack(alone).amax(0), rtol=1e-4, atol=1e-5)


def test_many_questions_are_answered_as_each_alone(sam) -> None:
    prompts = {1: LabelPrompts(points=np.array([[slice_ + 0.5, 5.5, 6.5] for slice_ in range(20)])),
               2: LabelPrompts(boxes=BOX)}
    picks = [(slice_, 0) for slice_ in range(20)]
    together, _ = variant(sam).answers(prompts, MadeEmbeddings(depth=20), picks)
    for slice_ in (0, 1, 19):
        alone, _ = variant(sam).answers(prompts, MadeEmbeddings(depth=20), [(slice_, 0)])
        torch.testing.assert_close(together[slice_], alone[0], rtol=1e-4, atol=1e-5)


def test_prompts_are_told_to_each_tile_in_its_own_pixels(sam) -> None:
    embeddings = MadeEmbeddings((20, 48))  # two rows of padding before the image, tiles from columns 0 and 16
    assert embeddings.frame.starts == [(0, 0), (0, 16)]
    logits, asked = variant(sam).answers({1: LabelPrompts(points=np.array([[0.5, 3.5, 40.5]]))}, embeddings,
                                         [(0, 0), (0, 1)])
    assert asked[:, 1].tolist() == [False, True]
    expected = theirs(sam, embeddings.read([(0, 1)])[0], points=(torch.tensor([[[48.5, 10.5]]]), torch.ones(1, 1)))
    torch.testing.assert_close(logits[1, 1], expected, rtol=1e-4, atol=1e-5)


def test_channels_that_are_encoded_alone_are_asked_alone_and_averaged(sam) -> None:
    two = replace(DATASET, channel_names=("T1", "T2"))
    prompts = {1: LabelPrompts(points=POINTS[:1])}
    logits, _ = variant(sam, dataset=two).answers(prompts, MadeEmbeddings(channels=512), [(1, 0)])
    halves = MadeEmbeddings(channels=512).read([(1, 0)])[0].split(256)
    point = torch.tensor([[[8.5, 6.5]]]), torch.ones(1, 1)
    expected = torch.stack([theirs(sam, half, points=point) for half in halves]).mean(0)
    torch.testing.assert_close(logits[0, 1], expected, rtol=1e-4, atol=1e-5)


def test_negative_points_are_sams_label_0(sam) -> None:
    """Positive and negative points of a slice are one prompt; negative points go with every box of their slice."""
    positive = np.array([True, False, True])
    logits, asked = variant(sam).answers({1: LabelPrompts(POINTS, positive=positive)}, MadeEmbeddings(), [(1, 0)])
    both = torch.tensor([[[8.5, 6.5], [60.5, 40.5]]]), torch.tensor([[1, 0]])
    expected = theirs(sam, MadeEmbeddings().read([(1, 0)])[0], points=both)
    torch.testing.assert_close(logits[0, 1], expected, rtol=1e-4, atol=1e-5)
    without, _ = variant(sam).answers({1: LabelPrompts(POINTS[:1])}, MadeEmbeddings(), [(1, 0)])
    assert asked[0].tolist() == [True, True, False] and not torch.allclose(logits[0, 1], without[0, 1], atol=1e-3)
    boxed = LabelPrompts(POINTS[1:2], BOX, np.array([False]))
    logits, _ = variant(sam).answers({2: boxed}, MadeEmbeddings(), [(1, 0)])
    box, point = torch.tensor([[6.0, 4.0, 34.0, 20.0]]), (torch.tensor([[[60.5, 40.5]]]), torch.tensor([[0]]))
    expected = theirs(sam, MadeEmbeddings().read([(1, 0)])[0], boxes=box, points=point)
    torch.testing.assert_close(logits[0, 2], expected, rtol=1e-4, atol=1e-5)


def test_a_class_with_negative_points_only_is_absent_and_not_decoded(sam) -> None:
    embeddings = MadeEmbeddings()
    prompts = {1: LabelPrompts(POINTS[:1], positive=np.array([False]))}
    logits, asked = variant(sam).answers(prompts, embeddings, [(1, 0), (2, 0)])
    assert asked[:, 1].tolist() == [True, False] and (logits[0, 1] == REFUSED).all() and not embeddings.picks


def test_regions_have_no_background_channel(sam) -> None:
    prompts = {(1, 2): LabelPrompts(boxes=BOX), 2: LabelPrompts(points=POINTS)}
    logits, asked = variant(sam, labels=REGIONS).answers(prompts, MadeEmbeddings(), [(0, 0), (2, 0)])
    assert asked.tolist() == [[True, False], [False, True]] and logits.shape == (2, 2, *TILE)


def test_an_encoder_without_sams_decoder_is_refused(sam) -> None:
    encoder = Encoder(EncoderSpec("encoder-only", "vit_b", "sam", SIZE), nn.Linear(1, 1), {}, "")
    with pytest.raises(UserError,
                       match="(?s)own prompt encoder and mask decoder.*encoder-only.*0 weights of prompt_encoder"):
        SamZeroshotVariant(VariantContext(PLAIN, DATASET, SECTION, {}, encoder))
    assert variant(sam).state() == {}
