"""How promptable an encoder's whole SAM is on real slices: boxes, points, and regions of a few labelled cases.

    samunet_plan_and_preprocess -d 4 --no_embeddings --encoder mini
    python studies/promptable.py -d 4 --encoder mini --output studies/results/promptable.jsonl --markdown prompts.md

Nothing is trained on the data. Draw d is looked at on fold d + 1, for d = 0 to 3; `--final` takes draw 0 on fold 0
instead, which is looked at once, at the end. Three figures, each beside what it must beat, with paired 95 % intervals
over draws and patients (`samunet.evaluation.statistics`):

box         ORACLE: the tight box of a class on a slice, taken from the label (`networks.prompts`: its corners, and the
ellipse
            inscribed in it as a mask prompt; the answer mended by `networks.box_answer`), against that ellipse. IoU,
            paired over slices and classes.
in context  regions of 5 labelled cases (`networks.in_context`: tokens, and a ridge regression's guess as a mask prompt)
ask
            for each class on every slice. Beside it, for comparison, that guess alone.
point       ORACLE: one point for each slice and class, the voxel of the label farthest from its edge; a class without a
            label on a slice is not prompted. Dice of a case, paired with the tokens', which get neither.

Mask 0 of the decoder is used (SAM's single mask). Classes compete by their logits; a voxel where all are below 0 is
background. Dice and IoU are taken on the voxels of the plan's grid.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from draws import add_draws, draws_of, fold_of, rule_text
from record import append, facts
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

from samunet.console import progress
from samunet.dataset.labels import OUTSIDE
from samunet.dataset.paths import Paths, resolve_paths
from samunet.evaluation.statistics import paired_differences, paired_interval
from samunet.files import whole_file
from samunet.inputs.protocols import CaseInputs
from samunet.networks.box_answer import answer_in_box
from samunet.networks.in_context import region_prompts
from samunet.networks.mask_decoding import decode_masks
from samunet.networks.prompts import Prompts, box_prompts, point_prompts
from samunet.networks.sam import build_mask_decoder, build_prompt_encoder, load_part
from samunet.planning.encoder_spec import PATCH_SIZE
from samunet.planning.groups import kept_groups
from samunet.training.experiment import Experiment, open_experiment
from samunet.training.settings import Request

SHOTS = 5
# Of each labelled case.
SUPPORT_SLICES = 5
BATCH = 32


class Prompted:
    """A SAM's decoder and prompt encoder on the tiles of a plan. Coordinates are voxels of the tile."""

    def __init__(self, experiment: Experiment) -> None:
        assert experiment.encoder is not None
        section = experiment.section
        self.tile, self.size, self.grid = section.tile_shape, section.input_size, section.input_size // PATCH_SIZE
        self.pixels = self.size / max(self.tile)  # of the encoder's input, for each voxel
        self.prompts, self.decoder = build_prompt_encoder(self.size), build_mask_decoder()
        load_part(self.prompts, "prompt_encoder.", experiment.encoder.sam_state)
        load_part(self.decoder, "mask_decoder.", experiment.encoder.sam_state)

    def boxed(self, embeddings: Tensor, masks: np.ndarray) -> Tensor:
        """Logits (N, rows, columns) of the tight boxes of masks bool (N, rows, columns) on N images."""
        return answer_in_box(self.logits(embeddings, self.box(masks)), self.boxes(masks), self.pixels)

    def box(self, masks: np.ndarray) -> Prompts:
        """The tight boxes of masks bool (N, rows, columns)."""
        return box_prompts(self.boxes(masks), self.prompts)

    def boxes(self, masks: np.ndarray) -> Tensor:
        """x0, y0, x1, y1 in pixels of the encoder's input, float (N, 4), the sides on the voxels' outer edges."""
        corners = []
        for mask in masks:
            (top, bottom), (left, right) = extent(mask)
            corners.append([left, top, right, bottom])
        return torch.tensor(corners) * self.pixels

    def point(self, masks: np.ndarray) -> Prompts:
        """The middle of the voxel that is farthest from its mask's edge, of masks bool (N, rows, columns)."""
        places = []
        for mask in masks:
            row, column = np.unravel_index(distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1].argmax(), mask.shape)
            places.append([column + 0.5, row + 0.5])
        # SAM counts from pixel centres and adds the half itself.
        return point_prompts(torch.tensor(places)[:, None] * self.pixels - 0.5, self.prompts)

    def coverage(self, masks: np.ndarray) -> Tensor:
        """Share of each cell, float (B, F, g, g), that masks bool (B, F, rows, columns) cover."""
        side = max(self.tile)
        square = pad(torch.from_numpy(masks).float(), (0, side - self.tile[1], 0, side - self.tile[0]))
        return avg_pool2d(interpolate(square, (self.size, self.size), mode="bilinear"), PATCH_SIZE)

    def logits(self, embeddings: Tensor, prompts: Prompts) -> Tensor:
        """Logits (B, rows, columns) of B prompts on B image embeddings (B, 256, g, g)."""
        found = []
        for start in range(0, len(embeddings), BATCH):
            part = slice(start, start + BATCH)
            sparse, dense = prompts[part].encode(self.prompts)
            masks, _ = decode_masks(self.decoder, embeddings[part], self.prompts.get_dense_pe(), sparse, dense)
            found.append(self.on_tile(masks[:, 0]))
        return torch.cat(found)

    def on_tile(self, masks: Tensor) -> Tensor:
        """Masks (B, 4g, 4g) at the tile's voxels, (B, rows, columns)."""
        whole = interpolate(masks[:, None], (max(self.tile),) * 2, mode="bilinear", align_corners=False)[:, 0]
        return whole[:, : self.tile[0], : self.tile[1]]


@dataclass(frozen=True)
class CaseFigures:
    """IoU of every (slice, class) by box and by ellipse.

    The case's mean Dice in context, by the guess alone and by points.
    """

    box: list[float]
    ellipse: list[float]
    in_context: float
    guess: float
    point: float


def extent(mask: np.ndarray) -> list[tuple[int, int]]:
    """First index and one after the last that hold the mask: of rows, of columns."""
    held = [np.flatnonzero(mask.any(axis)) for axis in (1, 0)]
    return [(int(each[0]), int(each[-1]) + 1) for each in held]


def ellipse(mask: np.ndarray) -> np.ndarray:
    """Voxels whose centre is in the ellipse inscribed in the tight box of `mask` bool (rows, columns)."""
    distance = np.zeros(mask.shape)
    for axis, (first, stop) in enumerate(extent(mask)):
        along = (np.arange(mask.shape[axis]) + 0.5 - (first + stop) / 2) / ((stop - first) / 2)
        distance += np.expand_dims(along**2, 1 - axis)
    return distance <= 1


def iou(first: np.ndarray, second: np.ndarray) -> float:
    """Of two masks of which one holds a voxel."""
    return float((first & second).sum() / (first | second).sum())


def tiled(experiment: Experiment, name: str, source: CaseInputs) -> tuple[Tensor, np.ndarray]:
    """Embeddings (Z, 256, g, g) of all slices of a case, and its class masks bool (Z, F, rows, columns)."""
    if len(source.frame.starts) > 1 or experiment.plans.dataset.channel_names[1:]:
        sys.exit(f"{name}: this script takes images of one channel whose slices fit one tile")
    labels, segmentation = experiment.dataset.labels, experiment.segmentation(name)
    tiles = np.stack([source.frame.cut(plane, 0, OUTSIDE) for plane in segmentation])
    masks = np.stack([labels.mask(tiles, label) for label in labels.foreground], axis=1)
    return source.read([(plane, 0) for plane in range(source.depth)]), masks


def support(experiment: Experiment, prompted: Prompted) -> tuple[Tensor, Tensor]:
    """Embeddings (B, 256, g, g) and coverage of slices of the labelled cases, evenly spaced over those with a class."""
    pictures, regions = [], []
    for name, source in experiment.embeddings(experiment.train_cases).items():
        embeddings, masks = tiled(experiment, name, source)
        held = np.flatnonzero(masks.any((1, 2, 3)))
        # The middles of equal parts, so that the ends, where little of the classes is left, are passed over.
        places = held[((np.arange(SUPPORT_SLICES) + 0.5) / SUPPORT_SLICES
                       * len(held)).astype(int)] if len(held) else held
        pictures.append(embeddings[places])
        regions.append(masks[places])
    return torch.cat(pictures), prompted.coverage(np.concatenate(regions))


def looked_at(
    prompted: Prompted, embeddings: Tensor, masks: np.ndarray, pictures: Tensor, coverage: Tensor
) -> CaseFigures:
    """One validation case: embeddings (Z, 256, g, g), true class masks bool (Z, F, rows, columns), and the support."""
    present = np.argwhere(masks.any((2, 3)))
    shown, true = embeddings[present[:, 0]], masks[present[:, 0], present[:, 1]]
    boxed = prompted.boxed(shown, true).numpy() > 0
    points = torch.full(masks.shape, -torch.inf)
    points[present[:, 0], present[:, 1]] = prompted.logits(shown, prompted.point(true))
    classes = region_prompts(pictures, coverage, embeddings)
    return CaseFigures(
        [iou(found, mask) for found, mask in zip(boxed, true, strict=True)],
        [iou(ellipse(mask), mask) for mask in true],
        mean_dice(torch.stack([prompted.logits(embeddings, each) for each in classes], 1), masks),
        mean_dice(torch.stack([prompted.on_tile(each.masks[:, 0]) for each in classes], 1), masks),
        mean_dice(points, masks),
    )


def mean_dice(logits: Tensor, masks: np.ndarray) -> float:
    """Mean over classes of the case's Dice; logits and masks (Z, F, rows, columns)."""
    best, found = logits.max(1)
    winner = torch.where(best > 0, found, -1).numpy()
    dice = []
    for label in range(masks.shape[1]):
        mask = masks[:, label]
        total = (winner == label).sum() + mask.sum()
        dice.append(2 * (mask & (winner == label)).sum() / total if total else np.nan)
    return float(np.nanmean(dice))


@torch.inference_mode()
def figures(
    options: argparse.Namespace, paths: Paths, draw: int
) -> tuple[dict[str, CaseFigures], dict[str, str] | None]:
    """Each validation case of the draw's fold, and the patients."""
    fold = fold_of(draw, options.final)
    request = Request(dataset=options.dataset, variant="probe", fold=fold, encoder=options.encoder,
                      plans_name="samunetPlans", shots=SHOTS, draw=draw)
    experiment = open_experiment(request, paths)
    prompted = Prompted(experiment)
    pictures, coverage = support(experiment, prompted)
    found = {}
    sources = experiment.embeddings(experiment.val_cases)
    for name, source in progress(sources.items(), f"fold {fold}", len(sources)):
        found[name] = looked_at(prompted, *tiled(experiment, name, source), pictures, coverage)
    return found, kept_groups(experiment.preprocessed)


def compared(draws: Sequence[dict[str, CaseFigures]], groups: dict[str, str] | None) -> list[dict[str, Any]]:
    """Box against ellipse, regions against their guess and points: means, means of each draw, paired interval."""
    rows = []
    boxes = []
    for cases in draws:
        differences: dict[str, list[float]] = defaultdict(list)
        for name, case in cases.items():
            differences[groups[name] if groups else name] += np.subtract(case.box, case.ellipse).tolist()
        boxes.append(differences)
    each = [[mean(value for case in cases.values() for value in getattr(case, key)) for cases in draws]
            for key in ("box", "ellipse")]
    rows.append({"figure": "IoU of a slice and class", "prompt": "oracle box", "against": "ellipse in the box",
                 "means": [mean(values) for values in each], "draws": each, **vars(paired_interval(boxes))})
    for key, what in (("guess", "the guess alone"), ("point", "oracle point for each slice and class")):
        scores = [[{name: getattr(case, kind) for name, case in cases.items()} for cases in draws]
                  for kind in ("in_context", key)]
        pairs = [paired_differences(one, other, groups) for one, other in zip(*scores, strict=True)]
        each = [[mean(cases.values()) for cases in kind] for kind in scores]
        rows.append({"figure": "Dice of a case", "prompt": f"regions of {SHOTS} labelled cases", "against": what,
                     "means": [mean(values) for values in each], "draws": each, **vars(paired_interval(pairs))})
    return rows


def markdown(rows: Sequence[dict[str, Any]], made: dict[str, Any]) -> str:
    """One table."""
    lines = ["| figure | prompt | | against | | difference, paired, 95 % interval |", "|---|---|---|---|---|---|"]
    lines += [f"| {row['figure']} | {row['prompt']} | {row['means'][0]:.3f} | {row['against']} | {row['means'][1]:.3f} "
              f"| {row['mean']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}] |" for row in rows]
    where = rule_text(made["draws"], made["final"])
    return "\n".join([*lines, "", (f"Encoder `{made['encoder']}`, {where}; `{made['command']}` at commit "
                                  f"{made['commit'][:7]}.")])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", dest="dataset", required=True)
    parser.add_argument("--encoder", default="mini")
    add_draws(parser)
    parser.add_argument("--output", type=Path, help="a JSON line is appended")
    parser.add_argument("--markdown", type=Path, help="the table is written")
    options = parser.parse_args()
    paths = resolve_paths()
    numbers = draws_of(options)
    draws, groups = zip(*(figures(options, paths, draw) for draw in numbers), strict=True)
    rows = compared(draws, groups[0])
    made = facts() | {"encoder": options.encoder, "final": options.final, "draws": numbers}
    text = markdown(rows, made)
    print(text)
    if options.markdown:
        with whole_file(options.markdown) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
    append(options.output, made | {"rows": rows})


if __name__ == "__main__":
    main()
