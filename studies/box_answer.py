"""How the constants of `samunet.networks.box_answer` were chosen: on synthetic images only.

    python studies/box_answer.py --output studies/results/box_answer.jsonl

Two seeds of synthetic families (`samunet.pretraining`) and two of phantoms of another generator. Each label of each
image is prompted by its tight box; the metric is the IoU with the label at the decoder's resolution. Three groups have
equal weight: synthetic labels similar to the ellipse in their box (IoU above 0.6), other synthetic labels, labels of
phantoms. The rows: the decoder's mask; the ellipse; the mask inside the box; and with the ellipse added to masks
similar to it, over a grid.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch
from record import append, facts
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from samunet.networks import box_answer
from samunet.networks.checkpoints.encoders import load_encoder
from samunet.networks.mask_decoding import decode_masks
from samunet.networks.prompts import MASK_SCALE, box_prompts, inscribed_ellipses
from samunet.networks.sam import build_mask_decoder, build_prompt_encoder, load_part
from samunet.pretraining.anatomy import LABELS
from samunet.pretraining.batches import BatchShape, make_batch
from samunet.pretraining.queries import tight_boxes
from samunet.pretraining.validation import NOTHING, VALIDATION_SEED, phantom_images

SIZE = 256
FAMILIES, PATIENTS, SLICES = 12, 2, 3
SEEDS = (VALIDATION_SEED, VALIDATION_SEED + 1)
SMALLEST = 0.25 * 16**2  # pixels of a label that is prompted
COMPACT = 0.6
GRID = {"LIKE_ELLIPSE": (0.6, 0.7, 0.75, 0.8), "ELLIPSE_LOGIT": (0.0, 4.0, 8.0, 12.0, 20.0), "BIAS": (0.0, 1.0)}


@dataclass(frozen=True)
class Answers:
    """N boxes of one group: logits and shares covered float (N, 4g, 4g), boxes float (N, 4)."""

    logits: Tensor
    truth: Tensor
    boxes: Tensor

    def iou(self, answer: Tensor) -> Tensor:
        """Of masks `answer` > 0, float (N,)."""
        found = (answer > 0).float()
        union = torch.maximum(found, self.truth).sum((1, 2))
        return torch.minimum(found, self.truth).sum((1, 2)) / union.clamp_min(1e-6)

    def ellipse(self) -> Tensor:
        """1 in the ellipse, -1 outside, float (N, 4g, 4g)."""
        return inscribed_ellipses(self.boxes, self.truth.shape[-1], MASK_SCALE).float() * 2 - 1

    def where(self, chosen: Tensor) -> Answers:
        return Answers(self.logits[chosen], self.truth[chosen], self.boxes[chosen])


class PromptedSam:
    """An encoder's SAM, prompted by boxes."""

    def __init__(self, encoder: str) -> None:
        self.encoder = load_encoder(encoder, SIZE)
        self.prompts, self.decoder = build_prompt_encoder(SIZE), build_mask_decoder()
        load_part(self.prompts, "prompt_encoder.", self.encoder.sam_state)
        load_part(self.decoder, "mask_decoder.", self.encoder.sam_state)

    def about(self, images: Tensor, labels: Tensor, values: range) -> Answers:
        """Every label of `values` on every image: images float (N, 3, S, S), labels uint8 (N, S, S)."""
        found = []
        for image, shown in zip(images, labels, strict=True):
            masks = torch.stack([shown == value for value in values])
            masks = masks[masks.sum((1, 2)) >= SMALLEST]
            boxes = tight_boxes(masks)
            sparse, dense = box_prompts(boxes, self.prompts).encode(self.prompts)
            embeddings = self.encoder.module(image[None]).expand(len(masks), -1, -1, -1)
            logits, _ = decode_masks(self.decoder, embeddings, self.prompts.get_dense_pe(), sparse, dense)
            found.append((logits[:, 0], avg_pool2d(masks[:, None].float(), MASK_SCALE)[:, 0], boxes))
        return Answers(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def groups(prompted: PromptedSam) -> Iterator[tuple[str, Answers]]:
    """(name, answers) of the three groups, of each seed."""
    for seed in SEEDS:
        batch = make_batch(BatchShape(FAMILIES, PATIENTS, SLICES, SIZE), seed, 0, torch.device("cpu"))
        labels = batch.labels.where(batch.inside[:, :, None], NOTHING)
        synthetic = prompted.about(batch.images.flatten(0, 2), labels.flatten(0, 2), range(LABELS))
        compact = synthetic.iou(synthetic.ellipse()) > COMPACT
        yield "synthetic, compact", synthetic.where(compact)
        yield "synthetic, other", synthetic.where(~compact)
        images, shown = phantom_images(SIZE, seed)
        large = torch.cat([interpolate(each[None].float(), (SIZE, SIZE), mode="nearest-exact")[0]
                           for each in shown]).to(torch.uint8)
        yield "phantom", prompted.about(images.flatten(0, 1), large, range(1, int(large[large != NOTHING].max()) + 1))


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="mini")
    parser.add_argument("--output", type=Path, help="a JSON line is appended")
    options = parser.parse_args()
    found = list(groups(PromptedSam(options.encoder)))
    rows = {"decoder": figures(found, lambda each: each.logits), "ellipse": figures(found, Answers.ellipse)}
    for values in product(*GRID.values()):
        for name, value in zip(GRID, values, strict=True):
            setattr(box_answer, name, value)
        constants = ", ".join(f"{name} {value:g}" for name, value in zip(GRID, values, strict=True))
        rows[constants] = figures(found, lambda each: box_answer.answer_in_box(each.logits, each.boxes, MASK_SCALE))
    for name, row in sorted(rows.items(), key=lambda item: -item[1]["mean"]):
        print(f"{row['mean']:.4f}  {name}  "
              + "  ".join(f"{group} {value:.3f}" for group, value in row.items() if group != "mean"))
    append(options.output, facts() | {"encoder": options.encoder, "rows": rows})


def figures(found: list[tuple[str, Answers]], answer: Callable[[Answers], Tensor]) -> dict[str, float]:
    """Mean IoU of each group over both seeds, and their mean."""
    names = dict.fromkeys(name for name, _ in found)
    means = {group: float(torch.cat([each.iou(answer(each)) for name, each in found if name == group]).mean())
             for group in names}
    return means | {"mean": sum(means.values()) / len(means)}


if __name__ == "__main__":
    main()
