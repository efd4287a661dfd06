"""Queries of the mask decoder in training: points, boxes and regions of synthetic images, with their target masks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from samunet.networks.in_context import region_prompts
from samunet.networks.prompts import MASK_SCALE, Prompts, box_prompts, point_prompts
from samunet.pretraining.objectives import Encoded
from samunet.pretraining.regions import SMALLEST_REGION, sampled_labels, target_masks

if TYPE_CHECKING:  # segment_anything imports torchvision, which takes seconds
    from segment_anything.modeling import PromptEncoder

PROMPTS = 2  # of each image; decoding costs little beside encoding
SMALLEST_PROMPTED = 0.25  # cells that a label must cover to be prompted by a point or a box
# of the box's side, the standard deviation of SAM (Kirillov et al. 2023, appendix A); here the maximum
BOX_JITTER = 0.1
ABSENT_SHARE = 0.15  # of in-context targets that do not contain the region
UNMASKED_SHARE = 1 / 3  # of boxes and regions that are prompted by tokens only, like AutoSAM's class tokens


@dataclass(frozen=True)
class Queries:
    """N prompts on N images, and their targets.

    Arguments:
        embeddings: float (N, 256, g, g).
        prompts: N of them.
        target: float (N, 4g, 4g), the share of each decoder pixel that the target mask covers.
        known: the same for the part of the image that is not padding.
    """

    embeddings: Tensor
    prompts: Prompts
    target: Tensor
    known: Tensor

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, chosen: Tensor | slice) -> Queries:
        return Queries(self.embeddings[chosen], self.prompts[chosen], self.target[chosen], self.known[chosen])

    @classmethod
    def joined(cls, several: list[Queries]) -> Queries:
        """The concatenation of `several`."""
        embeddings, target, known = (torch.cat([getattr(each, name) for each in several])
                                     for name in ("embeddings", "target", "known"))
        return cls(embeddings, Prompts.joined([each.prompts for each in several]), target, known)

    def first_lesson(self) -> Queries:
        """The same queries, with the mask prompt as the target of those that have one, whatever the image shows.

        It teaches a new decoder within some hundred steps that the mask prompt gives the position. Masks of all shapes
        teach this only slowly, because a decoder that uses only the image is not worse for a long time.
        """
        masks = self.prompts.masks[:, 0]
        return replace(self, target=torch.where(self.prompts.masked[:, None, None], (masks > 0).float(), self.target))


def queries_by_place(encoded: Encoded, encoder: PromptEncoder, generator: torch.Generator) -> Queries:
    """PROMPTS queries for each image, in random order, for labels that it shows: half by a point, half by a box.

    Small labels are sampled as often as large ones, because half of the slices of an organ show little of it.
    """
    images = encoded.batch.labels.shape[:3].numel()
    order = torch.randperm(images * PROMPTS, generator=generator, device=generator.device) % images
    labels, inside = encoded.batch.labels.flatten(0, 2)[order], encoded.inside_of_slices().flatten(0, 2)[order]
    area = encoded.coverage.flatten(0, 2)[order].sum((2, 3))
    wanted = sampled_labels((area >= SMALLEST_PROMPTED).float(), generator)
    mask = (labels == wanted[:, None, None]) & inside
    half = len(mask) // 2
    prompts = Prompts.joined([point_prompts(random_pixels(mask[:half], generator)[:, None], encoder),
                              box_prompts(jittered_boxes(mask[half:], generator), encoder)])
    prompts = _some_unmasked(prompts, generator)
    return Queries(encoded.embeddings.flatten(0, 2)[order], prompts, *target_masks(labels, inside, wanted, MASK_SCALE))


def queries_in_context(encoded: Encoded, generator: torch.Generator) -> Queries:
    """One query for each image, for a label that one to all other patients of the family show.

    The prompts are padded to the same number of tokens.
    """
    families, patients, slices = encoded.embeddings.shape[:3]
    supports = int(torch.randint(1, patients, (1,), generator=generator, device=generator.device))
    order = torch.randperm(patients, generator=generator, device=generator.device).tolist()
    area = encoded.coverage.sum((4, 5))  # (F, P, S, LABELS)
    prompts, targets = [], []
    for place, patient in enumerate(order):
        chosen = [order[(place + offset) % patients] for offset in range(1, supports + 1)]
        wanted = _wanted(area[:, patient], area[:, chosen].amax((1, 2)), generator)
        targets.append(wanted)
        for family in range(families):
            of_labels = region_prompts(encoded.embeddings[family, chosen].flatten(0, 1),
                                       encoded.coverage[family, chosen].flatten(0, 1),
                                       encoded.embeddings[family, patient])
            prompts += [of_labels[label][index : index + 1] for index, label in enumerate(wanted[family].tolist())]
    labels, inside, embeddings = (each[:, order].transpose(0, 1).flatten(0, 2) for each in
                                  (encoded.batch.labels, encoded.inside_of_slices(), encoded.embeddings))
    most = 2 * slices * (patients - 1)
    joined = _some_unmasked(Prompts.joined(prompts).filled(most), generator)
    return Queries(embeddings, joined, *target_masks(labels, inside, torch.stack(targets).flatten(), MASK_SCALE))


def _some_unmasked(prompts: Prompts, generator: torch.Generator) -> Prompts:
    """Remove the masks of UNMASKED_SHARE of the prompts, because a decoder trained only with masks is poor without."""
    chance = torch.rand(len(prompts), generator=generator, device=generator.device)
    return prompts.unmasked(chance < UNMASKED_SHARE)


def _wanted(area: Tensor, supported: Tensor, generator: torch.Generator) -> Tensor:
    """Target label (F, S) of each slice: one that the supports show and, in most cases, the slice too.

    Arguments:
        area: cells that each label covers, float (F, S, LABELS). supported: the same in the supports, (F, LABELS).
    """
    known = (supported >= SMALLEST_REGION)[:, None]
    absent = torch.rand((*area.shape[:2], 1), generator=generator, device=area.device) < ABSENT_SHARE
    weights = torch.where(absent, known * (area == 0), known * area.sqrt()).float()
    # If no label qualifies, any label that the supports show; others cannot be prompted.
    weights = torch.where(weights.sum(-1, keepdim=True) > 0, weights, known.float().expand_as(weights))
    return sampled_labels(weights.flatten(0, 1), generator).view(area.shape[:2])


def random_pixels(mask: Tensor, generator: torch.Generator) -> Tensor:
    """One pixel (x, y) of each mask bool (N, H, W), float (N, 2); anywhere if the mask is empty."""
    chosen = torch.multinomial(mask.flatten(1).float() + 1e-9, 1, generator=generator)[:, 0]
    return torch.stack([chosen % mask.shape[2], chosen // mask.shape[2]], 1).float()


def jittered_boxes(mask: Tensor, generator: torch.Generator) -> Tensor:
    """Tight boxes (x0, y0, x1, y1) float (N, 4) of masks bool (N, H, W), each side moved at random; whole if empty."""
    box = tight_boxes(mask)
    side = torch.stack([box[:, 2] - box[:, 0], box[:, 3] - box[:, 1]], 1).repeat(1, 2)
    noise = torch.randn(box.shape, generator=generator, device=box.device).clamp(-2, 2)
    loose = torch.rand((len(box), 1), generator=generator, device=box.device)  # from tight to hand-drawn boxes
    return (box + loose * noise * side * BOX_JITTER / 2).clamp(0, mask.shape[1])


def tight_boxes(mask: Tensor) -> Tensor:
    """Boxes (x0, y0, x1, y1) float (N, 4) of masks bool (N, H, H), ends one after the last pixel; whole if empty."""
    size = mask.shape[1]
    ends = []
    for axis in (1, 2):  # columns, then rows, that contain the mask
        held = mask.any(axis)
        first = held.float().argmax(1)
        last = size - held.flip(1).float().argmax(1)
        empty = ~held.any(1)
        ends.append((first.masked_fill(empty, 0).float(), last.masked_fill(empty, size).float()))
    return torch.stack([ends[0][0], ends[1][0], ends[0][1], ends[1][1]], 1)
