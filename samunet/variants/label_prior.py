"""The label prior: the mean of the training labels, stretched to each case. It never looks at an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from samunet.dataset.labels import LabelSpace
from samunet.planning.registration_grid import coarsened
from samunet.preprocessing.case import PreparedCase
from samunet.variants.base import Baseline, VariantContext
from samunet.variants.states import require_same

GRID_VOXELS = 2_000_000
SMALLEST_PROBABILITY = 1e-4


class LabelPriorVariant(Baseline):
    """Voxel-wise mean of the training labels on one canonical grid.

    Every label map is stretched to the plan's median shape, whatever its own, and stretched again to the shape of the
    case: only the position relative to the case's box counts. What this scores, a network gets from the
    dataset's field of view alone.
    """

    def __init__(self, context: VariantContext) -> None:
        super().__init__(context)
        self.grid = coarsened(context.dataset_plan.median_shape, GRID_VOXELS)
        self.prior = torch.zeros(self.labels.channels, *self.grid)

    def fit(self, cases: Sequence[PreparedCase]) -> None:
        """Average the channel masks of `cases`; a voxel that is ignored or unannotated does not contribute.

        A grid voxel that no case knows gets each channel's mean over the rest of the grid.
        """
        counts = torch.zeros(self.labels.channels, *self.grid)
        valid = torch.zeros(self.grid)
        for case in cases:
            assert case.segmentation is not None
            segmentation = torch.from_numpy(case.segmentation[0])
            valid += stretched(self.labels.valid(segmentation), self.grid)
            for channel, mask in enumerate(self.labels.channel_masks(segmentation)):
                counts[channel] += stretched(mask, self.grid)
        overall = counts.sum((1, 2, 3)) / valid.sum().clamp(min=1e-6)
        known = valid > 1e-6
        self.prior = torch.where(known, counts / valid.clamp(min=1e-6), overall[:, None, None, None])

    def predict(self, case: PreparedCase) -> Tensor:
        """See `Baseline`."""
        shape = case.image.shape[1:]
        return log_scores(torch.stack([stretched(channel, shape) for channel in self.prior]), self.labels)

    def state(self) -> dict[str, Tensor]:
        """`prior`: probabilities float32 (K, z, y, x) on the canonical grid."""
        return {"prior": self.prior.contiguous()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """See `Variant`."""
        require_same(state, self.state())
        self.prior = state["prior"]


def stretched(volume: Tensor, shape: Sequence[int]) -> Tensor:
    """`volume` (z, y, x), boolean or float, on a grid of `shape` over the same box: float32, trilinear."""
    size = tuple(int(length) for length in shape)
    values = volume[None, None].float()
    return torch.nn.functional.interpolate(values, size, mode="trilinear", align_corners=False)[0, 0]


def log_scores(probabilities: Tensor, labels: LabelSpace) -> Tensor:
    """Probabilities (K, ...) -> logits that `labels.activate` turns back into them, up to a floor of 1e-4."""
    if labels.has_regions:
        return probabilities.clamp(SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY).logit()
    return probabilities.clamp(min=SMALLEST_PROBABILITY).log()
