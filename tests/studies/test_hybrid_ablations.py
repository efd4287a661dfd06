"""An ablated input changes nothing; the other one does."""

from __future__ import annotations

import pytest
import torch

from samunet.dataset.labels import LabelSpace
from samunet.inputs.volumes import Volumes
from samunet.planning.plans import DatasetPlan, EncoderPlan
from samunet.variants.base import VariantContext
from samunet.variants.hybrid_off import HybridSettings

SHAPE = (8, 16, 16)
DATASET = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (1.0, 1.0, 1.0), SHAPE, False, ("MRI",), ("zscore",),
                      (False,), ({},))
SECTION = EncoderPlan("untrained", 32, (16, 16), 0.5, "repeat", 2, "float16", 0, 1)


@pytest.mark.parametrize("ablation, sees", [("NoEmbeddingsVariant", (True, False)), ("NoImageVariant", (False, True))])
@torch.no_grad()
def test_what_is_taken_away_is_not_seen(script, ablation: str, sees: tuple[bool, bool]) -> None:
    torch.manual_seed(0)
    variant = getattr(script("hybrid_ablations"),
                      ablation)(VariantContext(LabelSpace({"background": 0, "a": 1}), DATASET, SECTION, {},
                                               settings=HybridSettings(embeddings="on")))
    variant.network.eval()
    images = torch.randn(2, 1, 1, *variant.volume.shape)
    embeddings = torch.randn(2, 1, 256, *variant.volume.cells)
    first = variant.logits(Volumes(images[0], embeddings[0]))
    for found, seen in zip((variant.logits(Volumes(images[1], embeddings[0])),
                            variant.logits(Volumes(images[0], embeddings[1]))), sees,
                           strict=True):
        assert torch.equal(found, first) is not seen
    assert torch.equal(variant.outputs(Volumes(images[0], embeddings[0]))[0], first)
