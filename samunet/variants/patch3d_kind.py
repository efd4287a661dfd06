"""Variants that read 3D patches of the normalised channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from samunet.inputs.batches import Batches, Samples
from samunet.inputs.patches_3d import Axes, CasePatches3d, Patch3dAugmentation, Patch3dSamples
from samunet.inputs.protocols import CaseInputs
from samunet.inputs.recent import RecentImages
from samunet.inputs.sampling import FOREGROUND_SHARE, LabelSlices, Pick, Sampler, SpreadSampler
from samunet.networks.checkpoints.encoders import Encoder
from samunet.planning.encoder_rules import TILE_STEP
from samunet.planning.plans import Patch3dPlan, Plans
from samunet.planning.tiles import TileFrame
from samunet.preprocessing.case import PreparedCase
from samunet.variants.base import TrainedVariant, VariantContext
from samunet.variants.run_data import RunData

SPREAD = 10  # samples, of which a share is picked for foreground; batches may have one


class Patch3dVariant(TrainedVariant):
    """A 3D network on patches of the plan's section `patches_3d`.

    The network maps the normalised channels float32 (B, C, z, y, x) to class logits (B, K, z, y, x). One that has SAM's
    encoder in it sets `holds_encoder`; `context.encoder` is there then.

    All but `unet_3d` compute in float32, as published: PyTorch 2's bfloat16 convolutions of thin volumes give NaN on a
    processor, see `networks.flat_convolutions`.
    """

    needs: ClassVar[str] = "patches_3d"
    holds_encoder: ClassVar[bool] = False
    full_precision = True
    foreground_share: ClassVar[float] = FOREGROUND_SHARE  # of the patches, at least

    @property
    def plan(self) -> Patch3dPlan:
        """Shapes of a patch and of a token."""
        return plan_of(self.context)

    @classmethod
    def batch_size(cls, context: VariantContext) -> int:
        """Patches of one iteration: the plan's."""
        return plan_of(context).batch_size

    @property
    def patch(self) -> Axes:
        """Voxels (z, y, x) of a patch: the plan's."""
        return self.plan.shape

    @property
    def slices(self) -> int:
        """Slices of a patch."""
        return self.patch[0]

    def batches(self, run: RunData) -> Batches[Any]:
        """Patches of the training cases, augmented as they are read."""
        segmentations = map(run.segmentation, run.train_cases)
        slices = [LabelSlices.build(each, TileFrame(each.shape[1:], each.shape[1:], step=1.0), self.labels)
                  for each in segmentations]
        dataset = self.context.dataset_plan
        augmentation = Patch3dAugmentation(self.patch, flat=dataset.anisotropic or self.slices == 1)
        patches = Patch3dSamples(run.train_cases, RecentImages(run.arrays).get, slices, self.labels, augmentation)
        sampler = Sampler(slices, self.labels, SPREAD, run.seed, self.foreground_share)
        return Batches(run.train_cases, SpreadSampler(sampler, run.batch_size), self.samples(patches))

    def samples(self, patches: Patch3dSamples) -> Samples[Pick]:
        """What the network reads, made from patches; the patches, unless a subclass adds something."""
        return patches

    def inputs_of(
        self, case: PreparedCase, plans: Plans, encoder: Encoder | None, mirror: Sequence[int] = (),
        step: float | None = None, cached: CaseInputs | None = None,
    ) -> CaseInputs:
        """See `TrainedVariant`."""
        return CasePatches3d(case.image, self.patch, TILE_STEP if step is None else step, mirror)

    def logits(self, inputs: Tensor) -> Tensor:
        """Patches float32 (B, C, z, y, x) -> logits (B, K, z, y, x)."""
        shown: Tensor = self.network(inputs)
        return shown


def plan_of(context: VariantContext) -> Patch3dPlan:
    """The plan's section of 3D patches, which opening a run or a model has completed where it was missing."""
    plan = context.encoder_plan.patches_3d
    assert plan is not None
    return plan
