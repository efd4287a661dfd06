"""`hybrid_augment`: `hybrid_off`, half of whose views take shapes between the training cases."""

from __future__ import annotations

from typing import Any

from samunet.console import say
from samunet.inputs.batches import Batches
from samunet.inputs.recent import RecentImages
from samunet.preprocessing.view_names import View
from samunet.variants.hybrid_off import HybridOffVariant
from samunet.variants.run_data import RunData
from samunet.variants.transported_views import cached_name, with_transported_views


class HybridAugmentVariant(HybridOffVariant):
    """`hybrid_off`, every second of whose views is a `transported_views` one.

    From one case, or with less than two views of each, `hybrid_off`.
    """

    def batches(self, run: RunData) -> Batches[Any]:
        """Volumes of the training cases and their views, augmented as they are read."""
        cases, views = run.train_cases, run.planned_views()
        transported = views // 2 if len(cases) > 1 else 0
        run.record.update(views=views, transported_views=transported)
        if not transported:
            say(f"no view takes a shape between cases, which needs two cases with two views each, and there are "
                f"{len(cases)} with {views}: this run trains as hybrid_off does")
            return super().batches(run)
        run = with_transported_views(run)
        names = [cached_name(run.arrays, case, View(number, transported=number % 2 == 0))
                 for case in cases for number in range(1, views + 1)]
        return self.volume_batches(run, self.sources(run, [*cases, *names]), RecentImages(run.arrays), run.segmentation)
