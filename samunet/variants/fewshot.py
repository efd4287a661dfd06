"""`fewshot` and `in_context`: SAM's decoder prompted by labelled regions, trained on them or as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from samunet.inputs.batches import Batches
from samunet.inputs.queries import Queries, QuerySamples
from samunet.inputs.support import Support, gather_support
from samunet.inputs.tiles import TileSamples
from samunet.networks.fewshot import SUPPORT, Fewshot
from samunet.networks.region_tokens import MEAN
from samunet.planning.encoder_spec import EMBEDDING_CHANNELS
from samunet.variants.base import VariantContext
from samunet.variants.kinds import EmbeddingVariant, tile_logits
from samunet.variants.run_data import RunData
from samunet.variants.settings import LearningRate, TrainingSettings
from samunet.variants.states import require_form
from samunet.variants.token_choice import gather_judged, set_chosen_support

DROPPED, UNMASKED = 0.6, 0.2


@dataclass(frozen=True)
class FewshotSettings(TrainingSettings):
    """Settings of `fewshot`."""

    learning_rate: LearningRate = 5e-4


class FewshotVariant(EmbeddingVariant):
    """Trains `networks.fewshot`, which names source and deviations; its support is part of the model, images are not.

    The rule by which the support becomes tokens is chosen before training, see `token_choice`.

    Rate and the two shares above are untuned defaults.
    """

    settings_type = FewshotSettings
    settings: FewshotSettings

    def build_network(self) -> nn.Module:
        """See `TrainedVariant`."""
        context, background = self.context, not self.labels.has_regions
        return Fewshot(self.labels.channels - background, background, context.encoder_plan.input_size,
                       context.sam_state,
                       dropped=DROPPED, unmasked=UNMASKED)

    def batches(self, run: RunData) -> Batches[Any]:
        """Whole tiles of the training cases and their views, each with what must not prompt on it; sets the support,
        too.
        """
        embeddings = run.embeddings(run.cases_and_views())
        names, slices = list(embeddings), run.label_slices(embeddings)
        labels = dict(zip(names, slices, strict=True))
        support = gather_support(embeddings, labels, self.labels, self.context.encoder_plan, run.support)
        with run.timed("tokens"):
            run.record["tokens"] = set_chosen_support(self, support, gather_judged(embeddings, labels, support.names),
                                                      run.device)
        depths = [source.depth for source in embeddings.values()]
        samples = QuerySamples(TileSamples(list(embeddings.values()), slices), names, depths, support.names)
        return Batches(names, run.sampler(slices), samples)

    def set_support(self, support: Support, rule: str = MEAN) -> None:
        """Take these regions as prompts; see `Fewshot.set_support`."""
        self.fewshot.set_support(support.embeddings, support.coverage, support.units, support.asking, rule)

    @property
    def fewshot(self) -> Fewshot:
        """The network."""
        assert isinstance(self.network, Fewshot)
        return self.network

    def logits(self, inputs: Tensor) -> Tensor:
        """Embeddings (B, D, g, g) -> logits (B, K, rows, columns), prompted by the whole support."""
        return self.outputs(Queries(inputs, torch.full((len(inputs),), -1, device=inputs.device)))

    def outputs(self, inputs: Queries) -> Tensor:
        """The logits, each sample's own unit of the support left out."""
        return tile_logits(self.network(inputs.embeddings, inputs.units), self.context.encoder_plan)

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """See `Variant`; the support may be of any size."""
        network = self.fewshot
        classes = network.content.shape[1]
        regions = require_form(state, "content", (None, classes, None, EMBEDDING_CHANNELS), [torch.float32]).shape[:3]
        guesses = require_form(state, "weight", (None, classes, EMBEDDING_CHANNELS), [torch.float32]).shape[:2]
        for name, shape in (("kinds", regions), ("units", regions[:1]), ("bias", guesses)):
            require_form(state, name, shape, [getattr(network, name).dtype])
        for name in SUPPORT:  # as large as what was trained with
            setattr(network, name, torch.empty_like(state[name], device=next(network.parameters()).device))
        super().load_state(state)


class InContextVariant(FewshotVariant):
    """The same network as SAM's checkpoint has it: nothing is trained, the labelled regions prompt."""

    @classmethod
    def iterations(cls, context: VariantContext) -> int:
        """None."""
        return 0
