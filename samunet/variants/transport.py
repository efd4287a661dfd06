"""`transport`: `hybrid` that also sees the training cases' labels, carried to the case by registration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import ClassVar

import numpy as np
from torch import Tensor, nn

from samunet.inputs.protocols import CaseInputs
from samunet.inputs.volumes import CaseVolumes
from samunet.networks.checkpoints.encoders import Encoder
from samunet.networks.hybrid import Hybrid
from samunet.planning.plans import Plans
from samunet.preprocessing.case import PreparedCase
from samunet.variants.atlas import AtlasVariant
from samunet.variants.base import VariantContext, embeddings_of
from samunet.variants.hybrid import DROPPED, HybridVariant

SUPPORTS = 8  # each is registered to each training case and view, half a second a pair
MISPLACED_VOXELS = 3.0  # of the bend's largest deviation; shifts are up to 0.7 of it
_ATLAS = "atlas."


class TransportVariant(HybridVariant):
    """`hybrid` with one more input channel for each class: what `atlas` makes of the case from the training cases' labels.

    samunet's own. Registration knows shape and place, the network knows tissue; it learns where the one errs. A training case is
    never carried to itself: its channels, and its views', come from the other training cases. Of a single case only the views
    (at least one) are trained on, to which the case itself is carried: their warps are what registration has to undo. It undoes them better than
    another patient's shape, so there the channels are also moved and bent against the image (`VolumeAugmentation`'s
    `misplaced_voxels`); otherwise the network learns to repeat them. Of cases of which some slices are annotated, the others are
    learned from by what is carried to them: `training.prior_images`.

    How that was chosen: hippocampus, fold 1, draw 0, 12 validation cases, Dice on the plan's grid, scratch runs that no command here
    repeats, one each. From 1 case, `atlas` 0.719: the channels left in place 0.740 and 0.735 after 100 and all of 200 iterations;
    moved, 0.745 and 0.751 after 75 and all of 150. From 5 cases, whose channels come from other patients, `atlas` 0.834: 0.851 and
    0.848 after 200 and all of 300. No gain there: moving the channels by half as much (0.844 after 200 of 300), warping cases along
    the fields that carry them to each other (0.846 after all of 200), adding the network's logits to the logarithm of the
    channels (0.839 after 200 of 300).
    """

    inputs_depend_on_model: ClassVar[bool] = True

    def __init__(self, context: VariantContext) -> None:
        self.atlas = AtlasVariant(context)
        super().__init__(context)

    def build_network(self) -> nn.Module:
        context = self.context
        channels = len(context.dataset_plan.channel_names) + len(self.labels.foreground)
        return Hybrid(channels, context.embedding_channels, self.labels.channels, self.stack, DROPPED)

    def keep_supports(self, cases: Sequence[PreparedCase]) -> None:
        """Carry the labels of the first 8 of `cases` from now on."""
        self.atlas.fit(cases, SUPPORTS)

    def prior(self, case: PreparedCase, without: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Each class' transported probability, float32 (F, Z, Y, X), and whether any support knows a label of the place, bool (Z, Y, X).

        Arguments:
            without: number of the support that has no say.
        """
        logits, known = self.atlas.answer(case, without)
        return self.labels.activate(logits).numpy()[-len(self.labels.foreground) :], known

    def with_prior(self, case: PreparedCase) -> np.ndarray:
        """The normalised channels and, behind them, each class' transported probability: float32 (C + F, Z, Y, X)."""
        return np.concatenate([case.image, self.prior(case)[0]]).astype(np.float32)

    def inputs_of(
        self, case: PreparedCase, plans: Plans, encoder: Encoder | None, mirror: Sequence[int] = (), step: float | None = None,
        cached: CaseInputs | None = None,
    ) -> CaseInputs:
        embeddings = embeddings_of(case, plans, encoder, mirror, step, cached)
        return CaseVolumes(cache(lambda: self.with_prior(case)), embeddings, self.stack, mirror)

    def state(self) -> dict[str, Tensor]:
        """The network's tensors, and the supports' under `atlas.`."""
        return super().state() | {_ATLAS + name: tensor for name, tensor in self.atlas.state().items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.atlas.load_state({name.removeprefix(_ATLAS): tensor for name, tensor in state.items() if name.startswith(_ATLAS)})
        super().load_state(state)


class AugmentedVariant(HybridVariant):
    """`hybrid_off`, half of whose views take the shapes between the training cases: `training.transported_views`.

    From one case, or with less than two views of each, `hybrid_off`.
    """


class SelfTrainedVariant(HybridVariant):
    """`hybrid_off`, trained on unlabelled images of the fold as well, whose labels `atlas` carries there: `training.pseudo_labels`.

    Uses unlabelled data, which no other variant but `unet_simclr` does: its rows are compared with theirs under that name.
    """

    unlabelled: ClassVar[bool] = True
