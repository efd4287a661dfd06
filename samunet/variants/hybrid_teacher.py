"""`hybrid_teacher`: `hybrid_off`, trained also on unlabelled images that an average of its own weights labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from samunet.console import say
from samunet.dataset.labels import UNANNOTATED
from samunet.inputs.batches import Batches
from samunet.inputs.pasted import PastedBatches, PastedVolumes
from samunet.inputs.recent import RecentImages
from samunet.inputs.volumes import CaseVolumes, Volumes, VolumeSamples
from samunet.networks.hybrid import Hybrid
from samunet.variants.base import VariantContext
from samunet.variants.hybrid_off import HybridOffVariant
from samunet.variants.run_data import RunData
from samunet.variants.teacher import Teacher

LABELLED_ITERATIONS = 300  # on labelled cases alone, until the teacher knows what to label
UNLABELLED_SHARE = 0.5  # of the weight that the labelled part's loss has
_TEACHER = "teacher."


class HybridTeacherVariant(HybridOffVariant):
    """`hybrid_off`, trained on volumes of which one part is a labelled case and the other an unlabelled one.

    After bidirectional copy-paste (Bai et al., CVPR 2023, arXiv 2305.00673): what is learned from a labelled part must
    hold beside tissue of other patients, and a teacher's labels train the rest. Deviations: the 300 iterations before
    it are on single labelled cases, not on pairs of them pasted, and on the same schedule; the teacher follows from the
    first iteration; of its labels not only each class' largest component is kept; a box is two thirds of every side, of
    all slices where they are thick; every second volume has its labelled part inside the box, where the paper makes
    both of each pair; unlabelled volumes are not augmented. The network and the loss are those of `hybrid_off`.

    Uses unlabelled data; where a run has none, or too few iterations, it trains as `hybrid_off` does.
    """

    unlabelled: ClassVar[bool] = True

    def __init__(self, context: VariantContext) -> None:
        super().__init__(context)
        self.teacher = Teacher(self.network)

    def batches(self, run: RunData) -> Batches[Any]:
        """Volumes of the training cases, each with one of the unlabelled cases."""
        labelled = super().batches(run)
        names = [name for name in run.unlabelled_cases if name not in run.train_cases]
        run.record["pseudo_labelled_cases"] = names
        if not names:
            say("this run has no unlabelled cases, so it trains as hybrid_off does")
            return labelled
        unlabelled = self._unlabelled_batches(run, names)
        return PastedBatches(labelled, unlabelled, LABELLED_ITERATIONS, flat=self.flat(run.plans))

    def _unlabelled_batches(self, run: RunData, names: Sequence[str]) -> Batches[Any]:
        """Volumes of `names` as they are; labels that they may have are not used."""
        shapes = {name: run.arrays.properties(name).shape for name in names}
        sources, images = self.sources(run, names), RecentImages(run.arrays)
        slices = run.label_slices(sources, lambda name: np.zeros(shapes[name], np.int16))
        volumes = [CaseVolumes(partial(images.get, name), source, self.volume) for name, source in sources.items()]
        seed = int(np.random.SeedSequence([run.seed, len(names)]).generate_state(1)[0])  # other picks than of labelled
        samples = VolumeSamples(volumes, slices, self.volume, augmentation=None)
        return Batches(names, replace(run, seed=seed).sampler(slices), samples)

    def outputs(self, inputs: Volumes | PastedVolumes) -> list[Tensor]:
        """The logits of each decoder stage, finest first; of pasted volumes, behind them, the teacher's labels int64
        (B, N, rows, columns), UNANNOTATED in the labelled part.
        """
        self.teacher.follow(self.network)
        if isinstance(inputs, Volumes):
            return super().outputs(inputs)
        answer = self.teacher(inputs.unlabelled.image, inputs.unlabelled.embeddings)[0]
        labels = torch.where(inputs.labelled, UNANNOTATED, self._decoded(answer))
        return [*super().outputs(inputs.mixed), labels]

    def _decoded(self, logits: Tensor) -> Tensor:
        """Logits (B, K, ...) -> label values int64 (B, ...)."""
        scores = logits.float().movedim(1, 0).cpu().numpy()
        return torch.from_numpy(self.labels.decode(scores, threshold=0.0).astype(np.int64)).to(logits.device)

    def loss(self, outputs: Tensor | list[Tensor], segmentation: Tensor) -> Tensor:
        """That of `hybrid_off` on the labelled part, and half of it against the teacher's labels on the other."""
        assert isinstance(self.network, Hybrid) and isinstance(outputs, list)
        count = len(self.network.heads)
        stages, of_teacher = outputs[:count], outputs[count:]
        loss = super().loss(stages, segmentation)
        return loss + UNLABELLED_SHARE * super().loss(stages, of_teacher[0]) if of_teacher else loss

    def training_state(self) -> dict[str, Tensor]:
        """The network's tensors, and the teacher's under `teacher.`."""
        return self.state() | {_TEACHER + name: tensor for name, tensor in self.teacher.state().items()}

    def load_training_state(self, state: Mapping[str, Tensor]) -> None:
        """See `TrainedVariant`."""
        self.teacher.load_state({name.removeprefix(_TEACHER): tensor for name, tensor in state.items()
                                 if name.startswith(_TEACHER)})
        self.load_state({name: tensor for name, tensor in state.items() if not name.startswith(_TEACHER)})
