"""`hybrid_off`: a 3D U-Net's stem and decoder, joined with cached embeddings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from msgspec import Meta
from torch import Tensor, nn

from samunet.errors import UserError
from samunet.inputs.batches import Batch, Batches
from samunet.inputs.free_volumes import FreeVolumeSamples
from samunet.inputs.protocols import CaseInputs
from samunet.inputs.recent import Recent, RecentImages
from samunet.inputs.sampling import Pick
from samunet.inputs.volumes import CaseVolumes, Volumes
from samunet.networks.checkpoints.encoders import Encoder
from samunet.networks.checkpoints.released import start_path
from samunet.networks.closed_form import Sample, fit_head
from samunet.networks.hybrid import Hybrid
from samunet.networks.start import load_start
from samunet.planning.plans import EncoderPlan, Plans
from samunet.planning.volume_rules import VolumePlan, plan_volume, plan_voxel_volume, reads_embeddings
from samunet.preprocessing.case import PreparedCase
from samunet.variants.base import VariantContext
from samunet.variants.kinds import VolumeVariant, embeddings_of
from samunet.variants.losses import deeply_supervised
from samunet.variants.run_data import RunData
from samunet.variants.settings import LearningRate, TrainingSettings, WeightDecay

ITERATIONS = 600
FITTED_BATCHES = 8  # from whose volumes a pretrained start's head is fitted


@dataclass(frozen=True)
class HybridSettings(TrainingSettings):
    """Settings of `hybrid`."""

    learning_rate: LearningRate = 2e-3
    weight_decay: WeightDecay = 1e-2
    embeddings: Annotated[Literal["auto", "on", "off"],
                          Meta(description="whether the network reads embeddings; auto: as the plan decides")] = "auto"
    augmentation: Annotated[Literal["small", "free"],
                            Meta(description="small: warps that embeddings can follow; free: nnU-Net's ranges, without "
                                 "embeddings")] = "small"
    transport: Annotated[Literal["off", "augment", "prior", "selftrain", "teacher"],
                         Meta(description="use of labels transported from case to case by registration; teacher: of "
                              "labels that an average of the network gives unlabelled cases")] = "prior"
    start: Annotated[Literal["random", "pretrained"],
                     Meta(description="first weights; pretrained: on synthetic anatomies, the class head fitted")
                     ] = "random"
    dropout: Annotated[float,
                       Meta(ge=0, lt=1, description="chance with which all embeddings of a volume are dropped")] = 0.1
    batch_size: Annotated[int, Meta(ge=1, le=64, description="volumes in a batch; memory grows with it")] = 2

    earlier: ClassVar[Mapping[str, Any]] = {"embeddings": "on"}

    @property
    def needs_encoder(self) -> bool:
        """Not where embeddings are off, or would have to be pasted."""
        return self.embeddings == "on" or (self.embeddings == "auto" and self.transport != "teacher")

    @property
    def registers(self) -> bool:
        """Unless nothing is transported, or the network does it itself."""
        return self.transport not in ("off", "teacher")

    def resolved(self, plan: EncoderPlan) -> HybridSettings:
        """See `decided`.

        Raises:
            UserError: embeddings, and free augmentation or pasted volumes, which cached embeddings cannot follow; a
                start that this installation does not have.
        """
        decided = self.decided(plan)
        if decided.embeddings == "on" and decided.augmentation == "free":
            raise UserError("Free augmentation must go without embeddings, which are cached.", where="--set",
                            found="augmentation=free with embeddings", mend="Add --set embeddings=off.")
        if decided.embeddings == "on" and self.transport == "teacher":
            raise UserError("transport=teacher, which pastes voxels, must go without embeddings.", where="--set",
                            found="transport=teacher with embeddings", mend="Add --set embeddings=off.")
        if self.start == "pretrained":
            start_path()
        return decided

    def decided(self, plan: EncoderPlan) -> HybridSettings:
        """`embeddings` on or off: as it is set, else off where volumes are pasted, else as the plan's `hybrid` section
        says, else by the rule.
        """
        pay = self.embeddings == "on" or (self.needs_encoder and reads_embeddings(plan))
        return replace(self, embeddings="on" if pay else "off")

    @property
    def reads_tiles(self) -> bool:
        """Whether volumes are those of the encoder's tile: embeddings are, and the start knows single voxels."""
        return self.embeddings == "on" or self.start == "pretrained"


class HybridOffVariant(VolumeVariant):
    """Trains `networks.hybrid`; volumes and embeddings are augmented alike.

    Without embeddings no slice is encoded and no view is needed: volumes are warped whenever they are read. Rate,
    batch, length and dropout are untuned defaults.
    """

    settings_type = HybridSettings
    settings: HybridSettings

    @classmethod
    def batch_size(cls, context: VariantContext) -> int:
        """Volumes of one iteration."""
        return cls.settings_in(context).batch_size

    @classmethod
    def iterations(cls, context: VariantContext) -> int:
        """See `Variant`."""
        return ITERATIONS

    @property
    def volume(self) -> VolumePlan:
        """What it reads at once."""
        decided = self.settings.decided(self.context.encoder_plan)
        planned = plan_volume if decided.reads_tiles else plan_voxel_volume
        return planned(self.context.dataset_plan, self.context.encoder_plan)

    @property
    def reads_embeddings(self) -> bool:
        """Whether the run was asked to, or the plan decided so."""
        return self.settings.decided(self.context.encoder_plan).embeddings == "on"

    def build_network(self) -> nn.Module:
        """See `TrainedVariant`."""
        return self.network_of(len(self.context.dataset_plan.channel_names))

    def network_of(self, channels: int) -> Hybrid:
        """The network on volumes of `channels`."""
        embedded = self.context.embedding_channels if self.reads_embeddings else 0
        return Hybrid(channels, embedded, self.labels.channels, self.volume, self.settings.dropout)

    def cases_and_views(self, run: RunData) -> list[str]:
        """The names of what is trained on: views only where their embeddings are read."""
        return run.cases_and_views(None if self.reads_embeddings else 0)

    def sources(self, run: RunData, names: Sequence[str]) -> Mapping[str, CaseInputs]:
        """Embeddings of cases and views by name, or their tiles alone."""
        if self.reads_embeddings:
            return run.embeddings(names)
        return {name: self.tiles_of(run.arrays.properties(name).shape) for name in names}

    def source_of(self, case: PreparedCase, plans: Plans, encoder: Encoder | None, mirror: Sequence[int],
                  step: float | None, cached: CaseInputs | None) -> CaseInputs:
        """The embeddings of a case that is in memory, or its tiles alone; see `inputs_of`."""
        if self.reads_embeddings:
            return embeddings_of(case, plans, encoder, mirror, step, cached)
        return self.tiles_of(case.image.shape[1:], step)

    def batches(self, run: RunData) -> Batches[Any]:
        """Volumes of the training cases, and of views that are encoded, augmented as they are read."""
        sources = self.sources(run, self.cases_and_views(run))
        return self.volume_batches(run, sources, RecentImages(run.arrays), run.segmentation)

    def volume_batches(
        self, run: RunData, embeddings: Mapping[str, CaseInputs], images: Recent[np.ndarray],
        segmentation: Callable[[str], np.ndarray], misplaced_voxels: float = 0.0,
    ) -> Batches[Pick]:
        """See `VolumeVariant`; freely augmented, where that is set and no channel is misplaced."""
        if misplaced_voxels or self.settings.augmentation != "free":
            return super().volume_batches(run, embeddings, images, segmentation, misplaced_voxels)
        slices = run.label_slices(embeddings, segmentation)
        samples = FreeVolumeSamples([partial(images.get, name) for name in embeddings], slices, self.volume,
                                    len(run.plans.dataset.channel_names), flat=self.flat(run.plans))
        return Batches(list(embeddings), run.sampler(slices), samples)

    def inputs_of(
        self, case: PreparedCase, plans: Plans, encoder: Encoder | None, mirror: Sequence[int] = (),
        step: float | None = None, cached: CaseInputs | None = None,
    ) -> CaseInputs:
        """See `TrainedVariant`."""
        source = self.source_of(case, plans, encoder, mirror, step, cached)
        return CaseVolumes(lambda: case.image, source, self.volume, mirror)

    def begin(self, batches: Batches[Any]) -> None:
        """Take the pretrained weights, and fit the head in closed form to the labels of the first batches."""
        if self.settings.start == "pretrained":
            assert isinstance(self.network, Hybrid)
            load_start(self.network, start_path(), len(self.context.dataset_plan.channel_names))
            fit_head(self.network, map(self._sample, map(batches.read, range(FITTED_BATCHES))))

    def _sample(self, batch: Batch) -> Sample:
        members = torch.stack(self.labels.channel_masks(batch.segmentation), 1)
        assert isinstance(batch.inputs, Volumes)
        return batch.inputs.image, batch.inputs.embeddings, members, self.labels.valid(batch.segmentation)

    def logits(self, inputs: Volumes) -> Tensor:
        """Volumes -> logits (B, K, N, rows, columns)."""
        return self.network(inputs.image, inputs.embeddings)[0]

    def outputs(self, inputs: Volumes) -> list[Tensor]:
        """The logits of each decoder stage, finest first."""
        return self.network(inputs.image, inputs.embeddings)

    def loss(self, outputs: Tensor | list[Tensor], segmentation: Tensor) -> Tensor:
        """Deep supervision: the loss of every stage."""
        assert isinstance(outputs, list)
        return deeply_supervised(outputs, segmentation, self.labels, self.volume.padded)
