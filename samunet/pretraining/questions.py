"""What the mask decoder is asked in training: points, boxes and regions of made pictures, with the masks that answer them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from samunet.networks.in_context import region_prompts
from samunet.networks.prompts import MASK_SCALE, Prompts, box_prompts, point_prompts
from samunet.pretraining.objectives import Encoded
from samunet.pretraining.regions import SMALLEST_REGION, drawn_labels, target_masks

if TYPE_CHECKING:  # segment_anything imports torchvision, for seconds
    from segment_anything.modeling import PromptEncoder

PROMPTS = 2  # of each picture; decoding costs little beside encoding
SMALLEST_ASKED = 0.25  # cells that a label must cover to be asked for by a point or a box
BOX_JITTER = 0.1  # of the box's side, as SAM draws it (Kirillov et al. 2023, appendix A); here at most so much
ABSENT_SHARE = 0.15  # of in-context targets that do not hold the region
UNMASKED_SHARE = 1 / 3  # of boxes and regions that ask by their tokens alone, as AutoSAM's class tokens do later


@dataclass(frozen=True)
class Questions:
    """N prompts on N pictures, and what they ask for.

    Arguments:
        embeddings: float (N, 256, g, g).
        prompts: N of them.
        target: float (N, 4g, 4g), the share of each decoder pixel that the mask asked for covers.
        known: the same, of what is no padding.
    """

    embeddings: Tensor
    prompts: Prompts
    target: Tensor
    known: Tensor

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, chosen: Tensor | slice) -> Questions:
        return Questions(self.embeddings[chosen], self.prompts[chosen], self.target[chosen], self.known[chosen])

    @classmethod
    def joined(cls, several: list[Questions]) -> Questions:
        """All of them one after the other."""
        embeddings, target, known = (torch.cat([getattr(each, name) for each in several])
                                     for name in ("embeddings", "target", "known"))
        return cls(embeddings, Prompts.joined([each.prompts for each in several]), target, known)

    def first_lesson(self) -> Questions:
        """The same questions; those with a mask prompt are answered by that mask, whatever the picture shows.

        A decoder's first lesson. That the mask prompt says where is learned so in some hundred steps; the masks of all shapes
        teach it only slowly, for a decoder that heeds the picture alone does for long not do worse.
        """
        masks = self.prompts.masks[:, 0]
        return replace(self, target=torch.where(self.prompts.masked[:, None, None], (masks > 0).float(), self.target))


def ask_by_place(encoded: Encoded, encoder: PromptEncoder, generator: torch.Generator) -> Questions:
    """Every picture PROMPTS times, in random order, about a label that it shows: half by a point in it, half by a box.

    Small labels are asked for as often as large ones: of an organ, half of the slices show little.
    """
    pictures = encoded.batch.labels.shape[:3].numel()
    order = torch.randperm(pictures * PROMPTS, generator=generator, device=generator.device) % pictures
    labels, inside = encoded.batch.labels.flatten(0, 2)[order], encoded.inside_of_slices().flatten(0, 2)[order]
    area = encoded.coverage.flatten(0, 2)[order].sum((2, 3))
    wanted = drawn_labels((area >= SMALLEST_ASKED).float(), generator)
    mask = (labels == wanted[:, None, None]) & inside
    half = len(mask) // 2
    prompts = Prompts.joined([point_prompts(random_pixels(mask[:half], generator)[:, None], encoder),
                              box_prompts(jittered_boxes(mask[half:], generator), encoder)])
    prompts = _some_unmasked(prompts, generator)
    return Questions(encoded.embeddings.flatten(0, 2)[order], prompts, *target_masks(labels, inside, wanted, MASK_SCALE))


def ask_in_context(encoded: Encoded, generator: torch.Generator) -> Questions:
    """Every picture once, about a label that one to all other patients of the family show; filled up to one number of tokens."""
    families, patients, slices = encoded.embeddings.shape[:3]
    supports = int(torch.randint(1, patients, (1,), generator=generator, device=generator.device))
    order = torch.randperm(patients, generator=generator, device=generator.device).tolist()
    area = encoded.coverage.sum((4, 5))  # (F, P, S, LABELS)
    prompts, asked = [], []
    for place, patient in enumerate(order):
        chosen = [order[(place + offset) % patients] for offset in range(1, supports + 1)]
        wanted = _wanted(area[:, patient], area[:, chosen].amax((1, 2)), generator)
        asked.append(wanted)
        for family in range(families):
            of_labels = region_prompts(encoded.embeddings[family, chosen].flatten(0, 1),
                                       encoded.coverage[family, chosen].flatten(0, 1), encoded.embeddings[family, patient])
            prompts += [of_labels[label][index : index + 1] for index, label in enumerate(wanted[family].tolist())]
    labels, inside, embeddings = (each[:, order].transpose(0, 1).flatten(0, 2) for each in
                                  (encoded.batch.labels, encoded.inside_of_slices(), encoded.embeddings))
    most = 2 * slices * (patients - 1)
    joined = _some_unmasked(Prompts.joined(prompts).filled(most), generator)
    return Questions(embeddings, joined, *target_masks(labels, inside, torch.stack(asked).flatten(), MASK_SCALE))


def _some_unmasked(prompts: Prompts, generator: torch.Generator) -> Prompts:
    """UNMASKED_SHARE of the prompts without their masks: a decoder that always met one answers badly without."""
    chance = torch.rand(len(prompts), generator=generator, device=generator.device)
    return prompts.unmasked(chance < UNMASKED_SHARE)


def _wanted(area: Tensor, supported: Tensor, generator: torch.Generator) -> Tensor:
    """Label (F, S) asked of each slice: one that the supports show, and mostly this slice too.

    Arguments:
        area: cells that each label covers, float (F, S, LABELS). supported: the same in the supports, (F, LABELS).
    """
    known = (supported >= SMALLEST_REGION)[:, None]
    absent = torch.rand((*area.shape[:2], 1), generator=generator, device=area.device) < ABSENT_SHARE
    weights = torch.where(absent, known * (area == 0), known * area.sqrt()).float()
    # Where no label is both, any that the supports show: what they do not show cannot be asked for.
    weights = torch.where(weights.sum(-1, keepdim=True) > 0, weights, known.float().expand_as(weights))
    return drawn_labels(weights.flatten(0, 1), generator).view(area.shape[:2])


def random_pixels(mask: Tensor, generator: torch.Generator) -> Tensor:
    """One pixel (x, y) of each mask bool (N, H, W), float (N, 2); anywhere if the mask is empty."""
    chosen = torch.multinomial(mask.flatten(1).float() + 1e-9, 1, generator=generator)[:, 0]
    return torch.stack([chosen % mask.shape[2], chosen // mask.shape[2]], 1).float()


def jittered_boxes(mask: Tensor, generator: torch.Generator) -> Tensor:
    """Tight boxes (x0, y0, x1, y1) float (N, 4) of masks bool (N, H, W), each side moved at random; whole if empty."""
    box = tight_boxes(mask)
    side = torch.stack([box[:, 2] - box[:, 0], box[:, 3] - box[:, 1]], 1).repeat(1, 2)
    noise = torch.randn(box.shape, generator=generator, device=box.device).clamp(-2, 2)
    loose = torch.rand((len(box), 1), generator=generator, device=box.device)  # boxes are drawn by hand, or tight
    return (box + loose * noise * side * BOX_JITTER / 2).clamp(0, mask.shape[1])


def tight_boxes(mask: Tensor) -> Tensor:
    """Boxes (x0, y0, x1, y1) float (N, 4) of masks bool (N, H, H), ends one after the last pixel; whole if empty."""
    size = mask.shape[1]
    ends = []
    for axis in (1, 2):  # columns, then rows, that hold the mask
        held = mask.any(axis)
        first = held.float().argmax(1)
        last = size - held.flip(1).float().argmax(1)
        empty = ~held.any(1)
        ends.append((first.masked_fill(empty, 0).float(), last.masked_fill(empty, size).float()))
    return torch.stack([ends[0][0], ends[1][0], ends[0][1], ends[1][1]], 1)
