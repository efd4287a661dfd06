"""Which labelled slices ask, what each covers, and what is left out, on cases small enough to see through."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.inputs.batches import Batches
from samunet.inputs.protocols import Place
from samunet.inputs.queries import QuerySamples
from samunet.inputs.sampling import LabelSlices, Sampler
from samunet.inputs.support import cell_shares, gather_support, joined_support, spread, unit_of
from samunet.inputs.tiles import TileSamples
from samunet.planning.plans import EncoderPlan
from samunet.planning.tiles import TileFrame
from samunet.preprocessing.view_names import View, view_name

SPACE = LabelSpace({"background": 0, "a": 1, "b": 2})
PLAN = EncoderPlan("untrained", 32, (4, 3), 0.5, "repeat", 4, "float16", 0, 20)
DEPTH = 8


class Embeddings:
    """The number of the case and of the slice."""

    frame, depth = TileFrame((4, 3), (4, 3), 1.0), DEPTH

    def __init__(self, number: int) -> None:
        self.number = number

    def read(self, picks: Sequence[Place]) -> torch.Tensor:
        return torch.tensor([100.0 * self.number + plane for plane, _ in picks]).view(-1, 1, 1, 1).expand(-1, 256, 2, 2)


def labels(shown: Sequence[int]) -> LabelSlices:
    """Class 1 in the first row of the slices `shown`."""
    segmentation = np.zeros((DEPTH, 4, 3), np.int16)
    segmentation[list(shown), 0] = 1
    return LabelSlices.build(segmentation, Embeddings.frame, SPACE)


def test_shares_of_cells_by_hand() -> None:
    tile = np.array([[[1, 1, 2], [1, 1, 0], [0, 0, 0], [2, 2, 2]]], np.int16)
    shares = cell_shares(tile, SPACE, PLAN)  # cells of two by two voxels; the fourth column is outside
    assert shares[0, 0].tolist() == [[1.0, 0.0], [0.0, 0.0]]
    assert shares[0, 1].tolist() == [[0.0, 0.25], [0.5, 0.25]]


def test_places_far_from_each_other() -> None:
    places = np.array([[0.0, 0.0], [0.1, 0.0], [1.0, 1.0], [0.9, 1.0], [0.0, 1.0]])
    assert spread(places, 3) == [2, 0, 4] and spread(places, 9)[:3] == [2, 0, 4] and len(spread(places, 9)) == 5


def test_support_is_of_clean_cases_and_of_slices_that_show_a_class() -> None:
    names = ["one", view_name("one", View(1)), "two"]
    inputs = {name: Embeddings(number) for number, name in enumerate(names)}
    found = gather_support(inputs, {"one": labels([2, 3, 4]), names[1]: labels([0]), "two": labels([5])}, SPACE, PLAN)
    assert found.embeddings[:, 0, 0, 0].tolist() == [2.0, 3.0, 4.0, 205.0]
    assert found.units.tolist() == [0, 0, 0, 1]
    assert sorted(found.asking.tolist()) == [0, 1, 2, 3]
    assert found.coverage.shape == (4, 2, 2, 2) and found.coverage[0].tolist() == [[[0.5, 0.25], [0, 0]],
                                                                                   [[0, 0], [0, 0]]]


def test_sixteen_tiles_ask_and_a_single_case_is_left_out_by_quarters() -> None:
    found = gather_support({"one": Embeddings(0)}, {"one": labels(range(DEPTH))}, SPACE, PLAN)
    assert found.units.tolist() == [0, 0, 1, 1, 2, 2, 3, 3] and len(found.asking) == 8
    several = {f"case{number:02d}": Embeddings(number) for number in range(20)}
    found = gather_support(several, dict.fromkeys(several, labels(range(DEPTH))), SPACE, PLAN)
    assert found.units.unique().tolist() == list(range(16)) and len(found.embeddings) == 16 * DEPTH
    assert len(found.asking) == 16 and found.units[found.asking].tolist() == list(range(16))
    assert unit_of("case17", 0, list(several)[:16], DEPTH) == -1


def test_named_slices_are_the_support_and_all_ask() -> None:
    inputs = {name: Embeddings(number) for number, name in enumerate(("one", "two", "three"))}
    shown = {"one": labels(range(DEPTH)), "two": labels([5]), "three": labels([1, 2, 6])}
    found = gather_support(inputs, shown, SPACE, PLAN, {"three": (2, 6, 7), "one": (4,)})
    assert found.names == ("three", "one")
    assert found.embeddings[:, 0, 0, 0].tolist() == [202.0, 206.0, 4.0]  # slice 7 of `three` shows nothing
    assert sorted(found.asking.tolist()) == [0, 1, 2] and found.units.tolist() == [0, 0, 1]


def test_joined_support_keeps_the_first_and_is_one_unit_more() -> None:
    inputs = {name: Embeddings(number) for number, name in enumerate(("one", "two", "three"))}
    shown = {"one": labels([0, 1]), "two": labels([5]), "three": labels([1, 2])}
    first = gather_support(inputs, shown, SPACE, PLAN, {"one": (0, 1), "two": (5,)})
    both = joined_support(first, gather_support(inputs, shown, SPACE, PLAN, {"three": (1, 2)}))
    assert both.embeddings[:, 0, 0, 0].tolist() == [0.0, 1.0, 105.0, 201.0, 202.0]
    assert both.units.tolist() == [0, 0, 1, 2, 2] and both.names == ("one", "two", "three")
    assert both.asking[:3].tolist() == first.asking.tolist() and sorted(both.asking[3:].tolist()) == [3, 4]
    assert len(both.coverage) == 5


def test_cases_without_a_class_are_no_unit() -> None:
    inputs = {name: Embeddings(number) for number, name in enumerate(("none", "nor", "some", "more"))}
    shown = {"none": labels([]), "nor": labels([]), "some": labels([3]), "more": labels([4])}
    found = gather_support(inputs, shown, SPACE, PLAN)
    assert found.names == ("some", "more") and found.units.tolist() == [0, 1]
    assert unit_of("none", 0, found.names, DEPTH) == -1


def test_cases_without_a_class_are_refused() -> None:
    with pytest.raises(UserError, match="shows a class"):
        gather_support({"one": Embeddings(0)}, {"one": labels([])}, SPACE, PLAN)


def test_a_batch_says_which_unit_must_not_prompt() -> None:
    names = ["one", "two", view_name("one", View(1)), view_name("two", View(1))]
    slices = [labels([1, 6])] * 4
    inputs = [Embeddings(number) for number in range(4)]
    samples = QuerySamples(TileSamples(inputs, slices), names, [DEPTH] * 4, names[:2])
    batches = Batches(names, Sampler(slices, SPACE, 8, 0), samples)
    seen = set()
    for iteration in range(5):
        batch = batches.read(iteration)
        cases = (batch.inputs.embeddings[:, 0, 0, 0] / 100).long()
        assert batch.inputs.units.tolist() == (cases % 2).tolist()
        seen |= set(cases.tolist())
    assert seen == {0, 1, 2, 3}
    alone = QuerySamples(TileSamples(inputs[:1], slices[:1]), names[:1], [DEPTH], names[:1])
    batch = Batches(names[:1], Sampler(slices[:1], SPACE, 8, 0), alone).read(0)
    assert batch.inputs.units.tolist() == (batch.inputs.embeddings[:, 0, 0, 0] // 2).tolist()
