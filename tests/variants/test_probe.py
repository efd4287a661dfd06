from __future__ import annotations

import numpy as np
import torch

from samunet.dataset.labels import LabelSpace
from samunet.planning.plans import DatasetPlan, EncoderPlan
from samunet.variants.base import VariantContext
from samunet.variants.probe import ProbeVariant


def probe(tile: tuple[int, int], channels: tuple[str, ...] = ("MRI",)) -> ProbeVariant:
    zscore, unmasked = ("zscore",) * len(channels), (False,) * len(channels)
    dataset = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (1.0,) * 3, (1, *tile), False, channels, zscore,
                          unmasked,
                          ({},) * len(channels))
    encoder = EncoderPlan("untrained", 32, tile, 0.5, "repeat", 4, "float16", 0, 20)
    labels = LabelSpace.from_dataset_json({"labels": {"background": 0, "vessel": 1, "organ": 2}})
    torch.manual_seed(0)
    return ProbeVariant(VariantContext(labels, dataset, encoder, {}))


def test_one_weight_a_channel_and_class_and_one_bias_a_class() -> None:
    assert sum(each.numel() for each in probe((2, 2)).network.parameters()) == 256 * 3 + 3
    # Two channels that are encoded alone stand side by side.
    assert sum(each.numel() for each in probe((2, 2), ("T1", "T2")).network.parameters()) == 512 * 3 + 3


def test_each_token_is_classified_by_itself() -> None:
    variant = probe((2, 2))
    with torch.no_grad():
        variant.network.weight.zero_()
        variant.network.bias.copy_(torch.tensor([0.5, 0.0, -1.0]))
        variant.network.weight[1, 7] = 2.0
        variant.network.weight[2, 255] = -3.0
    embeddings = torch.zeros(1, 256, 2, 2)
    embeddings[0, 7, 0, 1] = 4.0
    embeddings[0, 255, 1, 0] = -1.0
    # Two tokens a side on a tile of 2 x 2 voxels: nothing is interpolated.
    expected = [[[0.5, 0.5], [0.5, 0.5]], [[0.0, 8.0], [0.0, 0.0]], [[-1.0, -1.0], [2.0, -1.0]]]
    np.testing.assert_allclose(variant.logits(embeddings)[0].detach(), expected, atol=1e-6)


def test_logits_lie_bilinearly_on_the_tiles_voxels_and_the_padding_is_cut_off() -> None:
    variant = probe((2, 4))
    with torch.no_grad():
        variant.network.weight.zero_()
        variant.network.bias.zero_()
        variant.network.weight[1, 0] = 1.0
    embeddings = torch.zeros(1, 256, 2, 2)
    embeddings[0, 0, :, 1] = 4.0
    # Token centres lie at columns 0.5 and 2.5: 0, a quarter, three quarters, all of 4.
    np.testing.assert_allclose(variant.logits(embeddings)[0, 1].detach(), [[0.0, 1.0, 3.0, 4.0]] * 2, atol=1e-6)


def test_two_kinds_of_tokens_are_told_apart_within_fifty_steps() -> None:
    variant = probe((2, 2))
    tokens = torch.randn(2, 256, generator=torch.Generator().manual_seed(1))
    segmentation = torch.tensor([[[0, 1], [1, 0]]])
    embeddings = tokens[segmentation].permute(0, 3, 1, 2)
    optimizer = torch.optim.AdamW(variant.network.parameters(), variant.learning_rate,
                                  weight_decay=variant.weight_decay)
    for _ in range(50):
        optimizer.zero_grad()
        variant.loss(variant.logits(embeddings), segmentation).backward()
        optimizer.step()
    assert variant.logits(embeddings).argmax(1).tolist() == segmentation.tolist()


def test_what_was_trained_is_restored() -> None:
    first, second = probe((2, 2)), probe((2, 2))
    with torch.no_grad():
        first.network.bias.fill_(0.25)
    second.load_state(first.state())
    assert second.network.bias.tolist() == [0.25, 0.25, 0.25]
