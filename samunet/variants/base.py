"""What every variant is: a few class attributes, a way to learn, batches, and logits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn

from samunet.errors import UserError
from samunet.inputs.batches import Batches
from samunet.inputs.protocols import CaseInputs
from samunet.inputs.support import Support
from samunet.networks.checkpoints.encoders import Encoder
from samunet.planning.plans import Plans
from samunet.preprocessing.case import PreparedCase
from samunet.variants.answers import PromptAnswers, answering
from samunet.variants.context import VariantContext
from samunet.variants.losses import dice_and_cross_entropy
from samunet.variants.prediction import Reading, averaged, averaged_slabs
from samunet.variants.settings import TrainingSettings, VariantSettings
from samunet.variants.sliding_window import Slab
from samunet.variants.states import require_same

if TYPE_CHECKING:
    from samunet.variants.run_data import RunData

__all__ = ["Baseline", "TrainedVariant", "Variant", "VariantContext"]


class Variant(ABC):
    """A named way to segment: a `TrainedVariant`, a `Baseline` (fitted in one call) or a `PromptedVariant`."""

    unlabelled: ClassVar[bool] = False  # whether it learns from the run's unlabelled images, too
    # what it reads, as `registry.VariantEntry` says; for variants of other packages, which have no row there
    needs: ClassVar[str] = ""
    prompts: ClassVar[tuple[str, ...]] = ()  # the kinds of prompts that it answers, as there
    full_precision: bool = False  # whether it computes in float32 where others take half precision
    # pattern of the names in its checkpoint that are training images; a shared model says how many it holds
    image_tensors: ClassVar[str] = ""
    settings_type: ClassVar[type[VariantSettings]] = VariantSettings
    settings: VariantSettings

    def __init__(self, context: VariantContext) -> None:
        self.context = context
        self.labels = context.labels
        self.settings = self.settings_in(context)

    @classmethod
    def settings_in(cls, context: VariantContext) -> Any:
        """The variant's settings in a context, or their defaults; for class methods, which have no `self.settings`."""
        return context.settings if isinstance(context.settings, cls.settings_type) else cls.settings_type()

    @property
    def reads_embeddings(self) -> bool:
        """Whether cached embeddings of a case are of use to it."""
        return self.needs in ("embeddings", "volumes")

    @classmethod
    def batch_size(cls, context: VariantContext) -> int:
        """Samples of one iteration; 0: there are no iterations."""
        return 0

    @classmethod
    def iterations(cls, context: VariantContext) -> int:
        """How long to train unless the user says otherwise; 0: nothing is trained by gradient."""
        return 0

    @property
    def trainable_parameters(self) -> int:
        """How many numbers are trained by gradient."""
        return 0

    def by_gradient(self) -> TrainedVariant | None:
        """Itself, where the training loop trains it; None where it is fitted in one call, or not at all."""
        return None

    def fit(self, cases: Sequence[PreparedCase]) -> None:
        """Learn from the training cases, all labelled, in one call; nothing, unless a subclass does."""
        return

    def set_support(self, support: Support, rule: str) -> None:
        """Take labelled regions as prompts, made into tokens by `rule`.

        Raises:
            UserError: the variant takes none.
        """
        raise UserError("Support slices must be given to a variant that is prompted by them.",
                        found=type(self).__name__)

    def to(self, device: torch.device | str) -> None:
        """Move what is trained by gradient to `device`; nothing, where there is none."""
        return

    def start_from(self, state: Mapping[str, Tensor]) -> None:
        """Take the tensors `state`, all of the variant's names and shapes, before training.

        Nothing, where none are trained.
        """
        return

    @abstractmethod
    def predict_slabs(self, folds: Sequence[Self], case: PreparedCase, reading: Reading) -> Iterator[Slab]:
        """Predict a case on the plan's grid, slab by slab, without reading its segmentation.

        Arguments:
            folds: the variant as each fold trained it, itself among them; their logits are averaged.

        Yields:
            (first slice, finite logits float32 (K, dz, Y, X)), together every slice once, in order; with
            `reading.members` more channels, where no prompts are answered.

        Raises:
            UserError: an encoder or prompts are needed and there are none.
        """

    def answers_of(self, folds: Sequence[Self], case: PreparedCase, reading: Reading) -> PromptAnswers:
        """What answers prompts of a case one after the other; see `answers.answering`."""
        return answering(self.prompts, folds, case, reading)

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """What was trained, as CPU tensors: the content of the checkpoint."""

    @abstractmethod
    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned.

        Raises:
            ValueError: a tensor is missing, unknown, or of another shape or number type.
        """


class TrainedVariant(Variant):
    """A network that the trainer's loop trains, on whatever `inputs_of` reads of a case.

    A subclass builds `network` in `build_network`, says in `batches` and `inputs_of` what it reads, and in `logits` how
    that becomes class logits.
    """

    settings_type: ClassVar[type[VariantSettings]] = TrainingSettings
    settings: TrainingSettings
    inputs_depend_on_model: ClassVar[bool] = False  # whether what is read of a case depends on what was trained on
    warmup_share: ClassVar[float] = 0.0  # of the iterations, over which the rate rises from next to nothing

    def __init__(self, context: VariantContext) -> None:
        super().__init__(context)
        self.network = self.build_network()

    # down to which a batch may shrink where a run's minutes hold few iterations; None: it is as planned
    smallest_batch: ClassVar[int | None] = None

    @property
    def learning_rate(self) -> float:
        """Of the first iteration."""
        return self.settings.learning_rate

    @property
    def weight_decay(self) -> float:
        """Of the optimiser."""
        return self.settings.weight_decay

    @abstractmethod
    def build_network(self) -> nn.Module:
        """The network, initialised under torch's current seed."""

    @abstractmethod
    def batches(self, run: RunData) -> Batches[Any]:
        """What the run trains on. What must be cached for it is cached here.

        Seconds and choices go into `run.record`.
        """

    @abstractmethod
    def inputs_of(
        self, case: PreparedCase, plans: Plans, encoder: Encoder | None, mirror: Sequence[int] = (),
        step: float | None = None, cached: CaseInputs | None = None,
    ) -> CaseInputs:
        """What the network reads of a case that is in memory.

        Arguments:
            plans: those that `case` was preprocessed with.
            encoder: for those that need one.
            cached: embeddings of the case as they are, without mirroring; their own tiles are used, whatever `step`
                says.
            mirror: in-plane axes (0 rows, 1 columns) along which each tile is flipped; the caller flips the logits
                back.
            step: fraction of a tile between neighbours; None takes the plan's.
        """

    @abstractmethod
    def logits(self, inputs: Any) -> Tensor:
        """Inputs of B samples -> logits (B, K, rows, columns) or (B, K, N, rows, columns) on their tiles' voxels."""

    @classmethod
    def batch_size(cls, context: VariantContext) -> int:
        """Samples of one iteration."""
        return context.encoder_plan.batch_size

    @classmethod
    def iterations(cls, context: VariantContext) -> int:
        """How long to train unless the user says otherwise."""
        return context.encoder_plan.head_iterations

    def begin(self, batches: Batches[Any]) -> None:
        """What is done to the network before its first iteration, from the samples; nothing, unless a subclass does."""
        return

    def pretraining(self) -> TrainedVariant | None:
        """What trains parts of `network` on unlabelled images in the first half of the iterations; None: nothing."""
        return None

    def optimizer(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        """AdamW, unless a subclass has another."""
        return torch.optim.AdamW(parameters, self.learning_rate, weight_decay=self.weight_decay)

    @property
    def slices(self) -> int:
        """Slices that an input holds."""
        return 1

    @property
    def micro_batch(self) -> int | None:
        """Samples of a batch that the trainer sends through together, where memory asks for fewer than all."""
        return None

    @property
    def uniform_weights(self) -> bool:
        """Whether prediction takes the plain mean of its windows along slices; see `sliding_window`."""
        return False

    def outputs(self, inputs: Any) -> Tensor | list[Tensor]:
        """What the loss is taken of; the logits, unless a subclass has more to say in training."""
        return self.logits(inputs)

    def loss(self, outputs: Tensor | list[Tensor], segmentation: Tensor) -> Tensor:
        """Scalar loss of `outputs` against label values (B, rows, columns)."""
        assert isinstance(outputs, Tensor)
        return dice_and_cross_entropy(outputs, segmentation, self.labels)

    @property
    def trainable_parameters(self) -> int:
        """How many numbers are trained by gradient."""
        return sum(each.numel() for each in self.network.parameters() if each.requires_grad)

    def by_gradient(self) -> TrainedVariant:
        """Itself."""
        return self

    def to(self, device: torch.device | str) -> None:
        """Move the network to `device`."""
        self.network.to(device)

    def start_from(self, state: Mapping[str, Tensor]) -> None:
        """Take these of the network's tensors before training."""
        self.network.load_state_dict(dict(state), strict=False)

    def predict_slabs(self, folds: Sequence[Self], case: PreparedCase, reading: Reading) -> Iterator[Slab]:
        """See `Variant`; networks are left in evaluation mode, on their device."""
        return averaged_slabs(folds, case, reading)

    def state(self) -> dict[str, Tensor]:
        """The network's tensors, on the CPU."""
        return {name: tensor.detach().cpu().contiguous() for name, tensor in self.network.state_dict().items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """See `Variant`."""
        require_same(state, self.state())
        self.network.load_state_dict(dict(state), strict=False)

    def training_state(self) -> dict[str, Tensor]:
        """What a run needs to go on, beside its optimiser: `state`, unless a subclass has more."""
        return self.state()

    def load_training_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `training_state` returned."""
        self.load_state(state)


class Baseline(Variant):
    """Something that a network must beat: fitted in one call on the training cases, no gradient, no embeddings."""

    needs: ClassVar[str] = "arrays"

    @abstractmethod
    def fit(self, cases: Sequence[PreparedCase]) -> None:
        """Learn from the training cases (all labelled)."""

    @abstractmethod
    def predict(self, case: PreparedCase) -> Tensor:
        """Logits float32 (K, Z, Y, X) on the case's plan grid; never reads `case.segmentation`."""

    def predict_slabs(self, folds: Sequence[Self], case: PreparedCase, reading: Reading) -> Iterator[Slab]:
        """See `Variant`; the whole case is one slab."""
        views = [each.predict(case) for each in folds]
        mean = averaged(views)
        yield 0, (torch.cat([mean, *views]) if reading.members else mean).numpy()
