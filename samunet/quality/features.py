"""What a fold's prediction of one case says about itself: how sure it is, and how far its mirrored views agree.

Cross-validation predicts a case with the one fold that did not train on it, so each feature is of one fold. Agreement
between folds is none: in cross-validation all folds but one have seen the case's labels. A prediction by several folds
has the features of each of them, and their predicted Dice is averaged.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import torch

from samunet.dataset.labels import Label, LabelSpace
from samunet.variants.prediction import MIRRORS
from samunet.variants.sliding_window import Slab

FEATURES = ("expected_dice", "boundary_certainty", "view_dice")
VIEWS = 1 + len(MIRRORS)


class MemberFeatures:
    """The features of one fold, gathered slab by slab; memory is that of a slab.

    For each class k, with p its probability and y its mask where the mean logits of the fold's views decode to it, over
    all voxels of the plan's grid:

    - `expected_dice`: 2 sum(p y) / (sum(p) + sum(y)). If each voxel belongs to k with probability p, this is the ratio
      of the expected numerator and denominator of Dice(y, reference), which Li et al. (arXiv 2206.05897) and others
      use in place of the expected ratio.
    - `boundary_certainty`: 1 minus the mean binary entropy of p, in bits, over the voxels of both sides of y's in-plane
      boundary; 1 without a boundary.
    - `view_dice`, of mirrored predictions: the mean Dice of the masks of each two views.

    All lie in [0, 1] and are higher for a surer prediction. All are 0 where y is empty: nothing found is no success.
    """

    def __init__(self, labels: LabelSpace, views: int) -> None:
        self.labels, self.views = labels, views
        count = len(labels.foreground)
        self.overlap, self.mass, self.size = np.zeros(count), np.zeros(count), np.zeros(count)
        self.entropy, self.boundary = np.zeros(count), np.zeros(count)
        self.common, self.sizes = np.zeros((count, views, views)), np.zeros((count, views))

    def add(self, logits: np.ndarray) -> None:
        """Take the logits float32 (views, K, dz, Y, X) of the next slices."""
        mean = logits.mean(0)
        probabilities = self.labels.activate(torch.from_numpy(mean)).numpy()
        decoded = self.labels.decode(mean, threshold=0.0)
        of_views = [self.labels.decode(view, threshold=0.0) for view in logits] if self.views > 1 else []
        for index, label in enumerate(self.labels.foreground):
            # Regions have a channel each; of plain labels channel 0 is background.
            p = probabilities[index if self.labels.has_regions else index + 1].astype(np.float64)
            self._add_class(index, p, self.labels.mask(decoded, label))
            self._add_views(index, label, of_views)

    def _add_class(self, index: int, p: np.ndarray, y: np.ndarray) -> None:
        self.overlap[index] += p[y].sum()
        self.mass[index] += p.sum()
        self.size[index] += np.count_nonzero(y)
        edge = p[on_boundary(y)]
        self.entropy[index] += binary_entropy(edge).sum()
        self.boundary[index] += edge.size

    def _add_views(self, index: int, label: Label, of_views: list[np.ndarray]) -> None:
        masks = [self.labels.mask(view, label) for view in of_views]
        for number, mask in enumerate(masks):
            self.sizes[index, number] += np.count_nonzero(mask)
        for one, other in combinations(range(len(masks)), 2):
            self.common[index, one, other] += np.count_nonzero(masks[one] & masks[other])

    def values(self) -> dict[str, dict[str, float]]:
        """Class key ("1", or "(1, 2)" for a region) -> feature -> value; `view_dice` only with several views."""
        return {str(label): self._of_class(index) for index, label in enumerate(self.labels.foreground)}

    def _of_class(self, index: int) -> dict[str, float]:
        names = FEATURES if self.views > 1 else FEATURES[:2]
        if not self.size[index]:
            return dict.fromkeys(names, 0.0)
        found = [2 * self.overlap[index] / (self.mass[index] + self.size[index]),
                 1 - self.entropy[index] / max(self.boundary[index], 1)]
        if self.views > 1:
            common, sizes = self.common[index], self.sizes[index]
            found.append(np.mean([_dice(common[one, other], sizes[one] + sizes[other])
                                  for one, other in combinations(range(self.views), 2)]))
        return {name: float(value) for name, value in zip(names, found, strict=True)}


def watched(slabs: Iterator[Slab], channels: int, members: list[MemberFeatures]) -> Iterator[Slab]:
    """The mean's slabs, of the first K = `channels` channels; what lies behind them goes into `members` on the way.

    Arguments:
        slabs: as `variants.prediction.Reading` gives them with `members`. One that lacks views (a baseline has none)
            counts as equal views.
    """
    for first, slab in slabs:
        each = slab[channels:].reshape(len(members), -1, channels, *slab.shape[1:])
        for member, logits in zip(members, each, strict=True):
            missing = member.views // len(logits)
            member.add(np.repeat(logits, missing, axis=0) if missing > 1 else logits)
        yield first, np.ascontiguousarray(slab[:channels])


def on_boundary(mask: np.ndarray) -> np.ndarray:
    """Voxels of bool (Z, Y, X) with an in-plane neighbour (of 4) on the other side of the mask's boundary."""
    found = np.zeros_like(mask)
    for axis in (1, 2):
        low = tuple(slice(None, -1) if each == axis else slice(None) for each in range(3))
        high = tuple(slice(1, None) if each == axis else slice(None) for each in range(3))
        differs = mask[low] != mask[high]
        found[low] |= differs
        found[high] |= differs
    return found


def binary_entropy(p: np.ndarray) -> np.ndarray:
    """-p log2(p) - (1 - p) log2(1 - p) in bits, 0 at 0 and 1."""
    q = np.clip(p, 1e-12, 1 - 1e-12)
    return np.asarray(-q * np.log2(q) - (1 - q) * np.log2(1 - q))


def _dice(common: float, sizes: float) -> float:
    """Dice of two masks; 1 if both are empty."""
    return 2 * common / sizes if sizes else 1.0
