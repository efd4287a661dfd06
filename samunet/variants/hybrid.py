"""`hybrid`: `hybrid_off` that also sees the training cases' labels, transported to the case by registration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn

from samunet.console import progress, say
from samunet.inputs.batches import Batches
from samunet.inputs.protocols import CaseInputs
from samunet.inputs.volumes import CaseVolumes
from samunet.networks.checkpoints.encoders import Encoder
from samunet.planning.plans import Plans
from samunet.preprocessing.arrays import LazyCases
from samunet.preprocessing.case import PreparedCase
from samunet.variants.atlas import AtlasVariant
from samunet.variants.base import VariantContext
from samunet.variants.hybrid_off import HybridOffVariant
from samunet.variants.prior_images import PriorImages
from samunet.variants.run_data import PRIORS, RunData

SUPPORTS = 8  # each is registered to each training case and view, half a second a pair
MISPLACED_VOXELS = 3.0  # standard deviation of the largest bend; shifts are up to 0.7 of it
_ATLAS = "atlas."


class HybridVariant(HybridOffVariant):
    """`hybrid_off` with one more input channel for each class: what `atlas` makes of the case from the training cases'
    labels.

    samunet's own. Registration knows shape and place, the network knows tissue; it learns where registration errs. The
    labels of a training case are never transported to itself: its channels, and its views', come from the other
    training cases. Of a single case only the views (at least one) are trained on, to which the case itself is
    registered: their warps are what registration has to undo. It undoes them better than another patient's shape, so
    there the channels are also moved and bent against the image (`VolumeAugmentation`'s `misplaced_voxels`); otherwise
    the network learns to repeat them. Where only some slices of a case are annotated, the labels transported to its
    other slices train, too: `prior_images`.

    How that was chosen: hippocampus, fold 1, draw 0, 12 validation cases, Dice on the plan's grid, scratch runs that no
    command here repeats, one each. From 1 case, `atlas` 0.719: the channels left in place 0.740 and 0.735 after 100 and
    all of 200 iterations; moved, 0.745 and 0.751 after 75 and all of 150. From 5 cases, whose channels come from other
    patients, `atlas` 0.834: 0.851 and 0.848 after 200 and all of 300. No gain there: moving the channels by half as
    much (0.844 after 200 of 300), warping cases along the fields that register them to each other (0.846 after all of
    200), adding the network's logits to the logarithm of the channels (0.839 after 200 of 300).
    """

    image_tensors = _ATLAS + AtlasVariant.image_tensors
    inputs_depend_on_model: ClassVar[bool] = True

    def __init__(self, context: VariantContext) -> None:
        self.atlas = AtlasVariant(context)
        super().__init__(context)

    def build_network(self) -> nn.Module:
        """See `TrainedVariant`."""
        return self.network_of(len(self.context.dataset_plan.channel_names) + len(self.labels.foreground))

    def keep_supports(self, cases: Sequence[PreparedCase]) -> None:
        """Transport the labels of the first 8 of `cases` from now on."""
        self.atlas.fit(cases, SUPPORTS)

    def prior(self, case: PreparedCase, without: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Each class' transported probability, float32 (F, Z, Y, X), and whether any support knows a label of the
        place, bool (Z, Y, X).

        Arguments:
            without: number of the support that is left out.
        """
        logits, known = self.atlas.answer(case, without)
        return self.labels.activate(logits).numpy()[-len(self.labels.foreground) :], known

    def with_prior(self, case: PreparedCase) -> np.ndarray:
        """The normalised channels and, behind them, each class' transported probability: float32 (C + F, Z, Y, X)."""
        return np.concatenate([case.image, self.prior(case)[0]]).astype(np.float32)

    def batches(self, run: RunData) -> Batches[Any]:
        """Volumes of all cases and views to which labels can be transported; registration is done here, once."""
        sources = self.sources(run, self.cases_and_views(run))
        with run.timed("transport"):
            self.keep_supports(LazyCases(run.arrays, run.train_cases))
            images = PriorImages(run.arrays, self, run.train_cases, run.scratch(PRIORS))
            possible = {name: source for name, source in sources.items() if images.possible(name)}
            for name in progress(possible, "transporting labels", len(possible)):
                images.get(name)
        # The only case is registered to warps of itself, which succeeds far better than to another patient.
        misplaced = MISPLACED_VOXELS if len(run.train_cases) == 1 else 0.0
        return self.volume_batches(run, possible, images, lambda name: images.completed(name, run.segmentation(name)),
                                   misplaced)

    def cases_and_views(self, run: RunData) -> list[str]:
        """See `HybridOffVariant`; of a single case at least one view, which is all that it trains on."""
        if len(run.train_cases) > 1:
            return super().cases_and_views(run)
        return run.cases_and_views(self._views_of_only_case(run))

    @staticmethod
    def _views_of_only_case(run: RunData) -> int:
        if planned := run.planned_views():
            return planned
        say("the plan's budget of images has no room for a view of the only training case; one is computed all the "
            "same, since the case "
            "is registered to it")
        return 1

    def inputs_of(
        self, case: PreparedCase, plans: Plans, encoder: Encoder | None, mirror: Sequence[int] = (),
        step: float | None = None,
        cached: CaseInputs | None = None,
    ) -> CaseInputs:
        """See `TrainedVariant`; registration runs when an image is first read."""
        source = self.source_of(case, plans, encoder, mirror, step, cached)
        return CaseVolumes(cache(lambda: self.with_prior(case)), source, self.volume, mirror)

    def state(self) -> dict[str, Tensor]:
        """The network's tensors, and the supports' under `atlas.`."""
        return super().state() | {_ATLAS + name: tensor for name, tensor in self.atlas.state().items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """See `Variant`."""
        self.atlas.load_state({name.removeprefix(_ATLAS): tensor for name, tensor in state.items()
                               if name.startswith(_ATLAS)})
        super().load_state(state)
