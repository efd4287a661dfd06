"""`3d_promptable`: SAM's encoder with 3D attention, prompted by clicks, boxes and masks in 3D."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Self

from msgspec import Meta
from torch import Tensor, nn

from samunet.errors import UserError
from samunet.inputs.batches import Samples
from samunet.inputs.patches_3d import KeyedPatches, KeyedSamples, Patch3dSamples
from samunet.inputs.sampling import Pick
from samunet.networks.promptable_3d import Promptable3d
from samunet.preprocessing.case import PreparedCase
from samunet.preprocessing.prompts.case_prompts import CasePrompts
from samunet.variants.answers import PromptAnswers
from samunet.variants.base import VariantContext
from samunet.variants.click_rounds import ClickRounds, loss_of_rounds
from samunet.variants.feature_windows import FeatureWindows
from samunet.variants.growing_answers import GrowingAnswers
from samunet.variants.partly_trained import PartlyTrained
from samunet.variants.patch3d_kind import Patch3dVariant
from samunet.variants.prediction import Reading
from samunet.variants.registry import HOW_TO_PROMPT
from samunet.variants.settings import LearningRate, TrainingSettings, WeightDecay
from samunet.variants.sliding_window import Slab

ITERATIONS = 600


@dataclass(frozen=True)
class Promptable3dSettings(TrainingSettings):
    """Settings of `3d_promptable`."""

    learning_rate: LearningRate = 1e-3
    weight_decay: WeightDecay = 0.0
    rounds: Annotated[int, Meta(ge=1, le=20, description="answers to each query of training: to first prompts, then to "
                                                         "one correction click more each time")] = 3


class Promptable3dVariant(PartlyTrained, Patch3dVariant):
    """3DSAM-adapter (Gong et al., arXiv 2306.13465; Medical Image Analysis 98, 103324), prompted.

    The published network, with the differences that `networks` names, trained by prompts simulated from the training
    labels (`inputs.clicks`). Deviations:

    - Several classes in one model; each query is for one, and classes compete by probability as in `sam_zeroshot`. The
      authors train a model for each tumour.
    - Clicks are positive or negative, and correct the answer before over several rounds. The authors train with one
      round of ten positive points and twenty that are called negative but lie anywhere.
    - Patches are the plan's, of any shape, with several in a batch; the authors' are cubes of 128 mm, one at a time.
    - Patches are warped and recoloured as those of `hybrid`; the authors zoom, flip and turn.
    - One AdamW for the network, its rate falling with the house's power of 0.9, gradients clipped as a whole at 12, for
      all parts; the authors have three at a rate of 4e-4, which fall linearly over 500 epochs, and clip each at 1. Runs
      here have hundreds of iterations.
    - Dice and cross entropy are binary and weigh the same, as published, Dice of each query alone.
    - Prediction needs no label, finds its windows from the prompts and grows them; see `growing_answers`.
    """

    settings_type = Promptable3dSettings
    settings: Promptable3dSettings
    network: ClickRounds

    prompts = ("points", "negative points", "boxes", "masks")
    holds_encoder: ClassVar[bool] = True
    foreground_share: ClassVar[float] = 0.8  # a query that shows its class teaches most

    @classmethod
    def iterations(cls, context: VariantContext) -> int:
        """See `Variant`."""
        return ITERATIONS

    def build_network(self) -> nn.Module:
        """See `TrainedVariant`."""
        context, plan = self.context, self.plan
        assert context.encoder is not None
        promptable = Promptable3d(context.encoder.module, channels=len(context.dataset_plan.channel_names),
                                  classes=len(self.labels.foreground), patch=plan.shape, token=plan.token,
                                  checkpointed=plan.checkpointed)
        return ClickRounds(promptable, self.labels, self.settings.rounds)

    def samples(self, patches: Patch3dSamples) -> Samples[Pick]:
        """Patches with what their prompts are simulated from."""
        return KeyedSamples(patches)

    def outputs(self, inputs: KeyedPatches) -> list[Tensor]:
        """See `ClickRounds`."""
        found: list[Tensor] = self.network(inputs)
        return found

    def loss(self, outputs: Tensor | list[Tensor], segmentation: Tensor) -> Tensor:
        """Over all rounds, against the queries' own targets."""
        assert isinstance(outputs, list)
        return loss_of_rounds(outputs)

    def answers_of(self, folds: Sequence[Self], case: PreparedCase, reading: Reading) -> PromptAnswers:
        """What answers prompts of `case` one after the other, with its features computed, unless it is large; see
        `FeatureWindows`.
        """
        features = self._features(folds, case)
        features.compute_all()
        return GrowingAnswers(features, self.labels)

    def predict_slabs(self, folds: Sequence[Self], case: PreparedCase, reading: Reading) -> Iterator[Slab]:
        """See `Variant`; the whole case is one slab, and features are computed where prompts and growth lead.

        Mirroring has no place, and windows are their own. Without a prompt, and without a mask to start from, a label
        is nowhere.
        """
        if case.prompts is None and case.start is None:
            raise UserError("A prompted variant needs prompts.", where=case.properties.name, mend=HOW_TO_PROMPT)
        prompts: CasePrompts = case.prompts or {}
        yield 0, GrowingAnswers(self._features(folds, case), self.labels).answer(prompts, case.start)

    @staticmethod
    def _features(folds: Sequence[Promptable3dVariant], case: PreparedCase) -> FeatureWindows:
        for each in folds:
            each.network.eval()
        return FeatureWindows([each.network.promptable for each in folds], case.image)
