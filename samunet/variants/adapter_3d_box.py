"""`3d_adapter_box`: SAM that sees neighbouring slices, prompted by a 3D box for each class or instance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from samunet.errors import UserError
from samunet.inputs.batches import Samples
from samunet.inputs.boxes import BoxSamples, BoxStacks, CaseBoxStacks
from samunet.inputs.image_stacks import CaseImageStacks, ImageStackSamples
from samunet.inputs.protocols import CaseInputs
from samunet.inputs.sampling import Pick
from samunet.networks.adapter_3d import AdaptedEncoder
from samunet.networks.box_decoder import BoxDecoder
from samunet.networks.boxed_sam import BoxedSam
from samunet.networks.checkpoints.encoders import Encoder
from samunet.planning.plans import Plans
from samunet.preprocessing.case import PreparedCase
from samunet.variants.adapter_3d import Adapter3dVariant
from samunet.variants.answers import ABSENT, with_start
from samunet.variants.kinds import tile_logits
from samunet.variants.prediction import Reading
from samunet.variants.registry import HOW_TO_PROMPT
from samunet.variants.sliding_window import Slab


class Adapter3dBoxVariant(Adapter3dVariant):
    """MA-SAM with a tight 3D box (Chen et al., arXiv 2309.08842; Medical Image Analysis 98, 103310).

    The network of `3d_adapter`, and the same training; every slice that a 3D box reaches is prompted with the same box,
    each slice alone. It is trained with boxes around the training cases' own labels; see `inputs.boxes`. Deviations,
    beside those of `3d_adapter` and `networks.box_decoder`:

    - The paper has one class with one box a volume. Here every box, of several classes or several objects of a class,
      is a separate pass of the decoder, with a mask for its object and one for the rest. A class is the maximum
      over its boxes, and classes compete by probability, as in `sam_zeroshot`: the background has logit 0. The loss is
      of the competing classes, which for one class is the paper's.
    - Outside its boxes' slices a class is absent. In their slices a mask may leave its box.
    - Boxes are moved at random in training; the paper's are tight. All of the stack's augmentation is used, and boxes
      are recomputed from the warped labels; the paper leaves out shears, scales and shifts, and rotates the box.
    """

    prompts = ("boxes", "masks")
    foreground_share: ClassVar[float] = 1.0  # a stack without a class has no box, and would teach nothing

    def build_network(self) -> nn.Module:
        """See `TrainedVariant`."""
        context = self.context
        assert context.encoder is not None
        encoder = AdaptedEncoder(context.encoder.module, self.settings.rank, self.settings.dropout,
                                 checkpointed=context.encoder_plan.adapters.checkpointed)
        ellipse = context.encoder.spec.size == "mini"  # whose decoder was trained so
        return BoxedSam(encoder, BoxDecoder(context.embedding_channels, context.sam_state, ellipse=ellipse), ABSENT)

    def samples(self, stacks: ImageStackSamples) -> Samples[Pick]:
        """The stacks with boxes around their labels."""
        return BoxSamples(stacks, self.labels, self.context.encoder_plan)

    def inputs_of(
        self, case: PreparedCase, plans: Plans, encoder: Encoder | None, mirror: Sequence[int] = (),
        step: float | None = None,
        cached: CaseInputs | None = None,
    ) -> CaseInputs:
        """See `TrainedVariant`.

        Raises:
            UserError: the case has no prompts.
        """
        if case.prompts is None:
            raise UserError("A prompted variant needs prompts.", where=case.properties.name, mend=HOW_TO_PROMPT)
        stacks = super().inputs_of(case, plans, encoder, mirror, step, cached)
        assert isinstance(stacks, CaseImageStacks)
        return CaseBoxStacks(stacks, case.prompts, self.labels, self.context.encoder_plan, mirror)

    def predict_slabs(self, folds: Sequence[Self], case: PreparedCase, reading: Reading) -> Iterator[Slab]:
        """See `Variant` and `answers.with_start`."""
        return with_start(super().predict_slabs(folds, case, reading), case.start, self.labels)

    def logits(self, inputs: BoxStacks) -> Tensor:  # type: ignore[override]
        """Logits (B, K, N, rows, columns) on the voxels of the plan's tile, of the background 0."""
        shown = self.network(inputs.images, inputs.boxes)
        masks = tile_logits(shown.flatten(0, 1), self.context.encoder_plan).unflatten(0, shown.shape[:2])
        classes = [self._joined(masks, inputs.channels == channel) for channel in range(self.labels.channels)]
        if not self.labels.has_regions:
            classes[0] = torch.zeros_like(classes[0])
        return torch.stack(classes, 1)

    @staticmethod
    def _joined(masks: Tensor, of_class: Tensor) -> Tensor:
        """Logits (B, N, rows, columns) of one class: the maximum over its boxes, ABSENT without any."""
        return torch.where(of_class[:, :, None, None, None], masks, ABSENT).amax(1)
