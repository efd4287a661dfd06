"""The labelled regions that prompt a few-shot network: from which slices, and what is left out in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.inputs.protocols import CaseInputs, Place
from samunet.inputs.sampling import LabelSlices
from samunet.planning.encoder_spec import PATCH_SIZE
from samunet.planning.plans import EncoderPlan
from samunet.preprocessing.view_names import case_and_view

MOST_CASES = 16
ASKING = 16  # labelled tiles whose regions become tokens, over all cases
PARTS = 4  # of a single case: a tile is not prompted by its own quarter of the slices


@dataclass(frozen=True)
class Support:
    """What `networks.fewshot.Fewshot.set_support` takes; `names` are its cases, as `unit_of` knows them."""

    names: tuple[str, ...]
    embeddings: Tensor
    coverage: Tensor
    units: Tensor
    asking: Tensor


def gather_support(
    inputs: Mapping[str, CaseInputs], labels: Mapping[str, LabelSlices], space: LabelSpace, plan: EncoderPlan,
    named: Mapping[str, Sequence[int]] | None = None,
) -> Support:
    """The tiles of the first 16 clean cases that hold a class; of them 16 in all prompt, spread over position and size.

    Arguments:
        inputs: embeddings of the cases by name. labels: their labels.
        named: case -> slices, in place of that choice: their tiles that hold a class are the support, and all of them
            ask.

    Raises:
        UserError: none of them shows a class.
    """
    clean = [name for name in inputs if case_and_view(name)[1] is None]
    shown = {name: _shown(labels[name], None if named is None else named[name])
             for name in (clean[:MOST_CASES] if named is None else named)}
    names = tuple(name for name, picks in shown.items() if picks)
    if not names:
        raise UserError("A few-shot model needs a training case that shows a class.", where=", ".join(shown),
                        found="labels without any", mend="Choose other cases: another fold, --draw or --shots.")
    embeddings, coverage, units, asking, count = [], [], [], [], 0
    for name in names:
        picks, depth = shown[name], inputs[name].depth
        embeddings.append(inputs[name].read(picks))
        shares = cell_shares(np.stack([labels[name].tile(*pick) for pick in picks]), space, plan)
        coverage.append(shares)
        units += [unit_of(name, plane, names, depth) for plane, _ in picks]
        areas = shares.sum((2, 3)).numpy()
        places = np.column_stack([np.array(picks)[:, 0] / max(depth - 1, 1), areas / areas.max(0).clip(1)])
        asking += [count + chosen for chosen in spread(places, len(picks) if named else max(1, ASKING // len(names)))]
        count += len(picks)
    return Support(names, torch.cat(embeddings), torch.cat(coverage), torch.tensor(units), torch.tensor(asking))


def _shown(labels: LabelSlices, slices: Sequence[int] | None) -> list[Place]:
    """The tiles that hold a class, of `slices` or of all."""
    planes, tiles = np.nonzero(labels.presence.any(0))
    return [(int(plane), int(tile)) for plane, tile in zip(planes, tiles, strict=True)
            if slices is None or plane in slices]


def joined_support(first: Support, more: Support) -> Support:
    """Both; all of `more` is one more unit, since nothing is left out in prediction."""
    units = torch.cat([first.units, torch.full_like(more.units, int(first.units.max()) + 1)])
    return Support((*first.names, *more.names), torch.cat([first.embeddings, more.embeddings]),
                   torch.cat([first.coverage, more.coverage]), units,
                   torch.cat([first.asking, more.asking + len(first.embeddings)]))


def unit_of(name: str, plane: int, names: Sequence[str], depth: int) -> int:
    """What is left out together with a tile: its case, by its place in `names`.

    Of a single case a quarter of the slices.

    -1 for a case that is not in the support.
    """
    case = case_and_view(name)[0]
    if case not in names:
        return -1
    return names.index(case) if len(names) > 1 else plane * PARTS // depth


def cell_shares(tiles: np.ndarray, space: LabelSpace, plan: EncoderPlan) -> Tensor:
    """Share of each cell that each class covers, float32 (B, F, g, g), of label values int16 (B, rows, columns)."""
    masks = np.stack([space.mask(tiles, label) for label in space.foreground], axis=1)
    rows, columns = plan.tile_shape
    side, grid = max(rows, columns), plan.input_size // PATCH_SIZE
    square = pad(torch.from_numpy(masks).float(), (0, side - columns, 0, side - rows))
    # Cells do not end where voxels do: by the pixels of the encoder's input, which cells divide evenly.
    pixels = interpolate(square, (plan.input_size, plan.input_size), mode="nearest-exact")
    return interpolate(pixels, (grid, grid), mode="area")


def spread(places: np.ndarray, count: int) -> list[int]:
    """`count` of `places` (N, d) far from each other: first that with the largest sum, then always the farthest."""
    chosen = [int(places.sum(1).argmax())]
    while len(chosen) < min(count, len(places)):
        distances = np.linalg.norm(places[:, None] - places[chosen], axis=2).min(1)
        chosen.append(int(distances.argmax()))
    return chosen
