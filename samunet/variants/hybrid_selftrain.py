"""`hybrid_selftrain`: `hybrid_off`, trained on unlabelled images as well."""

from __future__ import annotations

from typing import Any, ClassVar

from samunet.inputs.batches import Batches
from samunet.inputs.recent import RecentImages
from samunet.variants.hybrid_off import HybridOffVariant
from samunet.variants.pseudo_labels import with_pseudo_labels
from samunet.variants.run_data import PSEUDO_LABELS, RunData


class HybridSelftrainVariant(HybridOffVariant):
    """`hybrid_off`, trained also on unlabelled images of the fold, to which `atlas` transports labels: `pseudo_labels`.

    Uses unlabelled data, which no other variant but `unet_simclr` does: its rows are compared with theirs under that
    name.
    """

    unlabelled: ClassVar[bool] = True

    def batches(self, run: RunData) -> Batches[Any]:
        """Volumes of the training cases, their views and the pseudo-labelled cases, augmented as they are read."""
        names = self.cases_and_views(run)
        with run.timed("transport"):
            run, pseudo = with_pseudo_labels(run, run.scratch(PSEUDO_LABELS))
        run.record["pseudo_labelled_cases"] = list(pseudo)
        sources = self.sources(run, [*names, *pseudo])
        return self.volume_batches(run, sources, RecentImages(run.arrays), run.segmentation)
