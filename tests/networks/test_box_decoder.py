"""The box decoder against segment-anything's prompt encoder, and one prompt an image."""

from __future__ import annotations

import pytest
import torch
from segment_anything.modeling import Sam
from torch import Tensor, nn

from samunet.networks.box_decoder import BoxDecoder
from samunet.networks.boxed_sam import BoxedSam

BOXES = torch.tensor([[8.0, 16.0, 40.0, 100.0], [60.0, 3.0, 128.0, 77.5]])


def decoder(sam: Sam, ellipse: bool = False) -> BoxDecoder:
    torch.manual_seed(0)
    return BoxDecoder(256, sam.state_dict(), ellipse=ellipse).eval()


def embeddings() -> Tensor:
    return torch.randn(2, 256, 8, 8, generator=torch.Generator().manual_seed(1))


def test_a_box_is_encoded_as_by_segment_anything(small_sam: Sam) -> None:
    theirs, no_mask = small_sam.prompt_encoder(points=None, boxes=BOXES, masks=None)
    ours = decoder(small_sam)
    with torch.no_grad():
        for grid in ((8, 8), (8, 5)):  # of a square image whose right lies beyond the tile, too
            torch.testing.assert_close(ours._corners(BOXES, torch.Size(grid)), theirs)
        torch.testing.assert_close(ours._dense(BOXES, torch.Size((8, 8))).expand_as(no_mask), no_mask)


def test_an_ellipse_is_encoded_as_a_mask_by_segment_anything(small_sam: Sam) -> None:
    # A box over the whole image of 128 pixels: cells of 4 pixels, those within 64 pixels of the middle.
    middles = torch.arange(32) * 4.0 + 2 - 64
    inside = middles[:, None] ** 2 + middles**2 <= 64**2
    mask = torch.where(inside, 4.0, -4.0)[None, None]
    _, theirs = small_sam.prompt_encoder(points=None, boxes=None, masks=mask)
    with torch.no_grad():
        # of a square image whose right or bottom lies beyond the tile, too
        for rows, columns in ((8, 8), (8, 5), (3, 8)):
            ours = decoder(small_sam, ellipse=True)._dense(torch.tensor([[0.0, 0.0, 128.0, 128.0]]),
                                                           torch.Size((rows, columns)))
            torch.testing.assert_close(ours, theirs[:, :, :rows, :columns])


def images() -> Tensor:
    return torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("ellipse", [False, True])
def test_an_image_meets_its_own_box_only(small_sam: Sam, ellipse: bool) -> None:
    ours = decoder(small_sam, ellipse)
    with torch.no_grad():
        both = ours(embeddings(), BOXES, images())
        alone = torch.cat([ours(embeddings()[[index]], BOXES[[index]], images()[[index]]) for index in (0, 1)])
    assert both.shape == (2, 128, 128)
    torch.testing.assert_close(both, alone, rtol=1e-4, atol=1e-5)


def test_the_logit_is_the_object_less_the_rest(small_sam: Sam) -> None:
    ours = decoder(small_sam)
    with torch.no_grad():
        for mlp, bias in zip(ours.output_hypernetworks_mlps, (0.5, 2.0), strict=True):
            mlp.layers[-1].weight.zero_()
            mlp.layers[-1].bias.fill_(bias)
        for parameter in ours.detail.parameters():
            parameter.zero_()
        seen: list[Tensor] = []
        ours.output_upscaling.register_forward_hook(lambda _, __, upsampled: seen.append(upsampled))
        torch.testing.assert_close(ours(embeddings(), BOXES, images()), 1.5 * seen[0].sum(1), rtol=1e-4, atol=1e-5)


class FirstPixels(nn.Module):
    """Volumes (B, N, 3, H, W) -> the upper left value of each slice as its embedding (B, N, 1, 1, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def forward(self, stacks: Tensor) -> Tensor:
        self.seen += len(stacks)
        return stacks[:, :, :1, :1, :1]


class Sums(nn.Module):
    """Adds x0 of the box, and 1000 times the image, to the embedding, everywhere on 16 x 16 pixels."""

    def forward(self, embeddings: Tensor, boxes: Tensor, images: Tensor) -> Tensor:
        return (embeddings[:, 0, 0, 0] + boxes[:, 0])[:, None, None] + 1000 * images[:, 0]


def test_every_box_prompts_its_own_slices_only() -> None:
    stacks = torch.arange(6.0).view(2, 3, 1, 1, 1, 1).expand(2, 3, 1, 3, 16, 16)  # slice 3 b + s
    boxes = torch.full((2, 2, 3, 4), torch.nan)
    boxes[1, 0, :2], boxes[1, 1, 2] = 100.0, 200.0
    network = BoxedSam(FirstPixels(), Sums(), -10.0)
    with torch.no_grad():
        logits = network(stacks, boxes)[..., 0, 0]
        assert logits.tolist() == [[[-10.0] * 3] * 2, [[3103.0, 4104.0, -10.0], [-10.0, -10.0, 5205.0]]]
        assert network.encoder.seen == 1  # the first stack has no prompt
        # A box of another slice changes nothing here.
        boxes[1, 1, 2] = torch.nan
        assert network(stacks, boxes)[1, 0, :, 0, 0].tolist() == [3103.0, 4104.0, -10.0]
