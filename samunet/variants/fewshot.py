"""`fewshot` and `in_context`: SAM's decoder asked by labelled regions, trained on them or as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from samunet.inputs.queries import Queries
from samunet.networks.fewshot import SUPPORT, Fewshot
from samunet.networks.region_tokens import MEAN
from samunet.planning.encoder_spec import EMBEDDING_CHANNELS
from samunet.variants.base import EmbeddingVariant, VariantContext, tile_logits
from samunet.variants.states import require_form

DROPPED, UNMASKED = 0.6, 0.2


class FewshotVariant(EmbeddingVariant):
    """Trains `networks.fewshot`, where source and deviations are told; its support is part of the model, images are not.

    The rule by which the support becomes tokens is chosen before training, see `training.token_choice`.

    Rate and the two shares above are as they were first set: none was compared with others.
    """

    learning_rate: ClassVar[float] = 5e-4

    def build_network(self) -> nn.Module:
        context, background = self.context, not self.labels.has_regions
        return Fewshot(self.labels.channels - background, background, context.encoder_plan.input_size, context.sam_state,
                       dropped=DROPPED, unmasked=UNMASKED)

    def set_support(self, embeddings: Tensor, coverage: Tensor, units: Tensor, asking: Tensor, rule: str = MEAN) -> None:
        """Ask by these regions from now on; see `Fewshot.set_support`."""
        self.fewshot.set_support(embeddings, coverage, units, asking, rule)

    @property
    def fewshot(self) -> Fewshot:
        """The network."""
        assert isinstance(self.network, Fewshot)
        return self.network

    def logits(self, inputs: Tensor) -> Tensor:
        """Embeddings (B, D, g, g) -> logits (B, K, rows, columns), asked by the whole support."""
        return self.outputs(Queries(inputs, torch.full((len(inputs),), -1, device=inputs.device)))

    def outputs(self, inputs: Queries) -> Tensor:
        return tile_logits(self.network(inputs.embeddings, inputs.units), self.context.encoder_plan)

    def load_state(self, state: Mapping[str, Tensor]) -> None:
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
    """The same network as SAM's checkpoint has it: nothing is trained, the labelled regions ask."""

    @classmethod
    def iterations(cls, context: VariantContext) -> int:
        return 0
