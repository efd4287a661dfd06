"""Prompts of SAM's decoder (points, boxes and regions) in one form, before trained embeddings are added."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import embedding, pad

from samunet.planning.encoder_spec import PATCH_SIZE

if TYPE_CHECKING:  # segment_anything imports torchvision, for seconds
    from segment_anything.modeling import PromptEncoder

# Kinds of token, as segment-anything numbers them.
NO_POINT, BACKGROUND, FOREGROUND, FIRST_CORNER, LAST_CORNER = -1, 0, 1, 2, 3
SURE = 4.0  # logit of a mask prompt that is computed, not decoded: a probability of 0.98
MASK_SCALE = PATCH_SIZE // 4  # input pixels across one pixel of a mask prompt, and of the decoder's masks


@dataclass(frozen=True)
class Prompts:
    """N prompts, of one image each, of T tokens.

    Arguments:
        content: float (N, T, 256): SAM's positional encoding of a point or a corner, or a region's token; 0 for
            NO_POINT.
        kinds: int64 (N, T).
        masks: float (N, 1, 4g, 4g), logits of a mask prompt.
        masked: bool (N,): whether that mask is part of the prompt.
    """

    content: Tensor
    kinds: Tensor
    masks: Tensor
    masked: Tensor

    def __len__(self) -> int:
        return len(self.content)

    def __getitem__(self, chosen: Tensor | slice) -> Prompts:
        return Prompts(self.content[chosen], self.kinds[chosen], self.masks[chosen], self.masked[chosen])

    @classmethod
    def joined(cls, several: list[Prompts]) -> Prompts:
        """All of them in sequence; those with fewer tokens are padded with NO_POINT."""
        most = max(each.kinds.shape[1] for each in several)
        filled = [each.filled(most) for each in several]
        return cls(*(torch.cat([getattr(each, name) for each in filled])
                     for name in ("content", "kinds", "masks", "masked")))

    def filled(self, tokens: int) -> Prompts:
        """With `tokens` tokens each, the new ones of kind NO_POINT."""
        missing = tokens - self.kinds.shape[1]
        return Prompts(pad(self.content, (0, 0, 0, missing)), pad(self.kinds, (0, missing), value=NO_POINT), self.masks,
                       self.masked)

    def unmasked(self, which: Tensor) -> Prompts:
        """The same prompts, without mask prompt for those of `which` (bool (N,))."""
        return Prompts(self.content, self.kinds, self.masks, self.masked & ~which)

    def encode(self, encoder: PromptEncoder) -> tuple[Tensor, Tensor]:
        """The decoder's sparse (N, T, 256) and dense (N, 256, g, g) prompts, by SAM's trained embeddings."""
        types = torch.cat([encoder.not_a_point_embed.weight, *(each.weight for each in encoder.point_embeddings)])
        sparse = self.content + embedding(self.kinds - NO_POINT, types)
        plain = encoder.no_mask_embed.weight.view(1, -1, 1, 1)
        if not bool(self.masked.any()):
            grid = self.masks.shape[-1] // 4
            return sparse, plain.expand(len(self), -1, grid, grid)
        return sparse, torch.where(self.masked[:, None, None, None], encoder.mask_downscaling(self.masks), plain)


def point_prompts(points: Tensor, encoder: PromptEncoder, positive: Tensor | None = None) -> Prompts:
    """T points each, float (N, T, 2): (x, y) in input pixels; whole numbers are pixel centres.

    Arguments:
        positive: bool (N, T), whether a point is in the object (SAM's label 1) or must not be (its label 0); None: all
            are in it.
    """
    places = _places(points, encoder)
    kinds = pad(_kinds(points, positive), (0, 1), value=NO_POINT)
    masks = torch.zeros(len(points), 1, *(4 * side for side in encoder.image_embedding_size), device=points.device)
    return Prompts(pad(places, (0, 0, 0, 1)), kinds, masks,
                   torch.zeros(len(points), dtype=torch.bool, device=points.device))


def box_prompts(boxes: Tensor, encoder: PromptEncoder) -> Prompts:
    """A box each, float (N, 4): x0, y0, x1, y1 in input pixels.

    SAM encodes a box by its corners only. Here the inscribed ellipse is added as a mask prompt: a decoder learns in a
    few hundred steps to return the mask prompt, and to refine it; the meaning of two corners takes far longer.
    """
    kinds = torch.tensor([FIRST_CORNER, LAST_CORNER], device=boxes.device).expand(len(boxes), -1)
    ellipses = inscribed_ellipses(boxes, 4 * encoder.image_embedding_size[0], MASK_SCALE)
    masks = torch.where(ellipses, SURE, -SURE)[:, None]
    return Prompts(_places(boxes.view(-1, 2, 2), encoder), kinds, masks, torch.ones_like(kinds[:, 0], dtype=torch.bool))


def with_points(prompts: Prompts, points: Tensor, encoder: PromptEncoder, positive: Tensor) -> Prompts:
    """The prompts with T points each before their own tokens, as segment-anything orders points and boxes.

    Arguments:
        points, positive: see `point_prompts`.
    """
    return Prompts(torch.cat([_places(points, encoder), prompts.content], 1),
                   torch.cat([_kinds(points, positive), prompts.kinds], 1), prompts.masks, prompts.masked)


def with_click(prompts: Prompts, click: Tensor, kind: Tensor, masks: Tensor, encoder: PromptEncoder) -> Prompts:
    """The prompts plus a correction: a click (N, 2) of `kind` (N,) on the mask `masks`, logits (N, 1, 4g, 4g)."""
    return Prompts(torch.cat([prompts.content, _places(click[:, None], encoder)], 1),
                   torch.cat([prompts.kinds, kind[:, None]], 1), masks, torch.ones_like(prompts.masked))


def inscribed_ellipses(boxes: Tensor, side: int, scale: float) -> Tensor:
    """Mask of side x side pixels, `scale` input pixels wide, with centres in the ellipse: bool (N, side, side)."""
    across, down = from_middle(boxes, (side, side), scale)
    return across**2 + down**2 <= 1


def from_middle(boxes: Tensor, shape: tuple[int, int], scale: float) -> tuple[Tensor, Tensor]:
    """Distance of pixel centres from their box's centre, 1 at the box's sides.

    Arguments:
        boxes: float (N, 4), x0, y0, x1, y1 in input pixels.
        shape: rows and columns of pixels that are `scale` input pixels wide, the first at the input's corner.

    Returns:
        float (N, 1, columns), to the right, and float (N, rows, 1), downwards.
    """
    along = []
    for axis, count in ((0, shape[1]), (1, shape[0])):
        middles = (torch.arange(count, device=boxes.device) + 0.5) * scale
        low, high = boxes[:, axis, None], boxes[:, axis + 2, None]
        along.append((middles - (low + high) / 2) / ((high - low) / 2).clamp_min(1e-3))
    return along[0][:, None, :], along[1][:, :, None]


def _kinds(points: Tensor, positive: Tensor | None) -> Tensor:
    kinds = torch.full(points.shape[:2], FOREGROUND, device=points.device)
    return kinds if positive is None else torch.where(positive, kinds, BACKGROUND)


def _places(points: Tensor, encoder: PromptEncoder) -> Tensor:
    """SAM's encoding of points (N, T, 2), to which it adds half a pixel."""
    return encoder.pe_layer.forward_with_coords(points.float() + 0.5, encoder.input_image_size)
