"""Embeddings that are encoded when they are read."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from samunet.inputs import recent
from samunet.inputs.embeddings import (
    HeldEmbeddings,
    LiveEmbeddings,
    RecentInputs,
    StoredCaseEmbeddings,
    all_picks,
    encode,
    images_at_once,
    read_across,
)
from samunet.networks.checkpoints.encoders import Encoder
from samunet.planning.plans import Plans
from samunet.preprocessing.case import PreparedCase
from samunet.preprocessing.store import ArrayStore


def test_a_picture_is_encoded_the_same_whatever_is_beside_it(encoder: Encoder) -> None:
    pictures = torch.randn(19, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    together = encode(encoder, pictures)  # batches of 8, 8 and 3
    assert together.shape == (19, 256, 4, 4)
    assert torch.equal(together[18:], encode(encoder, pictures[18:]))
    assert torch.equal(together[5:14], encode(encoder, pictures[5:14]))
    with torch.inference_mode():
        torch.testing.assert_close(together, encoder.module(pictures), rtol=1e-4, atol=1e-4)


def test_batches_have_2048_tokens_at_most(encoder: Encoder) -> None:
    sizes = {size: images_at_once(encoder, size) for size in (64, 256, 512, 1024)}
    assert sizes == {64: 8, 256: 8, 512: 2, 1024: 1}


def test_channels_encoded_alone_stand_side_by_side(arrays: ArrayStore, plans: Plans, encoder: Encoder) -> None:
    case = arrays.load("one")
    both = LiveEmbeddings(case, plans, encoder).read([(0, 0)])
    dataset = replace(plans.dataset, channel_names=("b",), normalization=("zscore",), use_mask_for_norm=(False,),
                      foreground_intensity=({},))
    second = PreparedCase(case.image[1:], None, replace(case.properties, intensity_percentiles=((-2.0, 2.0),)))
    alone = LiveEmbeddings(second, replace(plans, dataset=dataset), encoder).read([(0, 0)])
    assert both.shape == (1, 512, 4, 4) and both.dtype == torch.float32
    assert torch.equal(both[:, 256:], alone)


@pytest.mark.parametrize("plans", ["float16", "int8"], indirect=True)
def test_cases_read_together_are_as_read_alone(arrays: ArrayStore, plans: Plans, encoder: Encoder) -> None:
    one, two = (LiveEmbeddings(arrays.load(name), plans, encoder) for name in ("one", "two"))
    assert all_picks(one.depth, one.frame) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    together = read_across([one, two, one], [(0, 1), (1, 0), (1, 1)])
    assert torch.equal(together, torch.cat([one.read([(0, 1)]), two.read([(1, 0)]), one.read([(1, 1)])]))
    assert not torch.equal(together[0], together[2])


def test_stored_cases_are_read_once_while_they_fit(
    arrays: ArrayStore, plans: Plans, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, load = [], ArrayStore.load
    monkeypatch.setattr(ArrayStore, "load", lambda self, name: loaded.append(name) or load(self, name))
    inputs = RecentInputs(arrays, plans, encoder)
    one, two = (StoredCaseEmbeddings(name, inputs) for name in ("one", "two"))
    assert loaded == [] and (one.depth, one.frame.starts) == (2, [(0, 0), (4, 0)])
    assert torch.equal(one.read([(1, 1)]), LiveEmbeddings(load(arrays, "one"), plans, encoder).read([(1, 1)]))
    two.read([(0, 0)])
    one.read([(0, 0)])
    assert loaded == ["one", "two"]
    monkeypatch.setattr(recent, "RECENT_BYTES", 2 * 2 * 12 * 8 * 4)  # one image: two channels of two slices
    two.read([(0, 0)])  # drops `one`
    one.read([(0, 0)])
    assert loaded == ["one", "two", "one"]


class CountedSlices:
    """Embeddings of 10 slices of two tiles, each the numbers of its pick; remembers what was read."""

    frame, depth = None, 10

    def __init__(self) -> None:
        self.reads: list[list[tuple[int, int]]] = []

    def read(self, picks: list[tuple[int, int]]) -> torch.Tensor:
        self.reads.append(list(picks))
        return torch.tensor([[10 * slice_ + tile] for slice_, tile in picks])


def test_held_embeddings_are_read_once_and_fill_a_batch_with_the_nearest_slices() -> None:
    source = CountedSlices()
    held = HeldEmbeddings(source, at_once=4)
    assert held.read([(5, 1), (2, 0)]).tolist() == [[51], [20]]
    assert source.reads == [[(5, 1), (2, 0), (1, 0), (3, 0)]]
    assert held.read([(2, 0), (3, 0), (5, 1)]).tolist() == [[20], [30], [51]] and len(source.reads) == 1
    assert held.read([(9, 0)]).tolist() == [[90]] and source.reads[1] == [(9, 0), (8, 0), (7, 0), (6, 0)]
    assert held.read([(4, 0), (4, 0), (5, 0)]).tolist() == [[40], [40], [50]]
    assert source.reads[2] == [(4, 0), (5, 0), (0, 0)]  # no more are left of the tile
    alone = HeldEmbeddings(CountedSlices())
    assert alone.read([(5, 1)]).tolist() == [[51]] and alone._source.reads == [[(5, 1)]]
