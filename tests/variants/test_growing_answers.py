"""Growth and corrections with answers that are known: the true target, as far as a window shows it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from samunet.dataset.labels import LabelSpace
from samunet.planning.windows_3d import Window, Windows3d
from samunet.preprocessing.prompts.case_prompts import LabelPrompts
from samunet.variants.answers import ABSENT, KEPT
from samunet.variants.growing_answers import CLICKED, GrowingAnswers

ONE = LabelSpace({"background": 0, "a": 1})
TWO = LabelSpace({"background": 0, "a": 1, "b": 2})
SHAPE = (8, 12, 60)  # windows of 8 x 12 x 16: one, one, and six, 9 voxels apart or less


class TrueWithin:
    """Answers 3 in the target of each label and -3 elsewhere, whatever the prompts; `asked` is what it was asked."""

    token = (2, 2, 2)

    def __init__(self, *targets: np.ndarray, patch: tuple[int, int, int] = (8, 12, 16)) -> None:
        self.windows, self.targets = Windows3d(SHAPE, patch), targets
        self.asked: list[tuple[Window, int]] = []

    def logits(self, window: Window, index: int, prompts: LabelPrompts, previous: np.ndarray) -> np.ndarray:
        self.asked.append((window, index))
        case, own = self.windows.inside(window)
        answer = np.full(self.windows.patch, -3.0, np.float32)
        answer[own] = np.where(self.targets[index][case], 3.0, -3.0)
        return answer


def box(low: Sequence[int], high: Sequence[int]) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return mask


def points(*places: Sequence[float], positive: Sequence[bool] | None = None) -> LabelPrompts:
    given = np.ones(len(places), bool) if positive is None else np.array(positive)
    return LabelPrompts(points=np.array(places, float).reshape(-1, 3), positive=given)


LONG = box((2, 4, 4), (6, 8, 52))  # three windows long


def test_a_target_three_times_longer_than_the_window_comes_back_whole_from_a_click_at_its_end() -> None:
    source = TrueWithin(LONG)
    logits = GrowingAnswers(source, ONE).answer({1: points((4.5, 6.5, 5.5))}, None)
    assert logits.dtype == np.float32 and np.isfinite(logits).all() and (logits[0] == 0).all()
    assert np.array_equal(logits[1] > 0, LONG)
    assert len(source.asked) == len(set(source.asked))  # each window once


def test_growth_stops_where_the_target_ends_and_reaches_no_other_object() -> None:
    near, far = box((2, 4, 2), (6, 8, 10)), box((2, 4, 40), (6, 8, 50))
    source = TrueWithin(near | far)
    found = GrowingAnswers(source, ONE).answer({1: points((4.5, 6.5, 5.5))}, None)[1]
    assert np.array_equal(found > 0, near)
    # The next windows were not asked: at 10 the target is 5 voxels from the end of the first window.
    assert source.asked == [((0, 0, 0), 0)]
    assert (found[:, :, 20:] == ABSENT).all()


def test_a_window_that_was_grown_into_adds_only_what_touches_the_mask() -> None:
    long, beside = box((2, 4, 4), (6, 8, 30)), box((0, 10, 26), (2, 12, 30))
    found = GrowingAnswers(TrueWithin(long | beside), ONE).answer({1: points((4.5, 6.5, 5.5))}, None)[1]
    assert np.array_equal(found > 0, long)


def test_prompts_far_apart_have_windows_of_their_own() -> None:
    near, far = box((2, 4, 4), (6, 8, 9)), box((2, 4, 50), (6, 8, 56))
    source = TrueWithin(near | far)
    found = GrowingAnswers(source, ONE).answer({1: points((4.5, 6.5, 5.5), (4.5, 6.5, 53.5))}, None)[1]
    assert np.array_equal(found > 0, near | far) and len(source.asked) == 2


def test_a_box_is_answered_in_all_windows_that_it_reaches() -> None:
    source = TrueWithin(LONG)
    prompts = LabelPrompts(boxes=np.array([[[2.0, 4.0, 4.0], [6.0, 8.0, 52.0]]]))
    assert np.array_equal(GrowingAnswers(source, ONE).answer({1: prompts}, None)[1] > 0, LONG)


def test_without_prompts_nothing_is_asked_and_the_mask_is_empty() -> None:
    source = TrueWithin(LONG, LONG)
    logits = GrowingAnswers(source, TWO).answer({}, None)
    assert not source.asked and (logits[1:] == ABSENT).all() and not logits.argmax(0).any()


def test_a_start_mask_without_prompts_stays() -> None:
    start = box((0, 0, 0), (2, 2, 2))
    logits = GrowingAnswers(TrueWithin(LONG), ONE).answer({}, start[None])
    assert np.array_equal(logits[1] > 0, start) and logits[1].max() == KEPT


def test_a_start_mask_stays_where_a_positive_click_adds() -> None:
    start = box((0, 0, 56), (2, 2, 60))
    found = GrowingAnswers(TrueWithin(LONG), ONE).answer({1: points((4.5, 6.5, 5.5))}, start[None])[1]
    assert np.array_equal(found > 0, LONG | start)


def test_a_negative_click_removes_the_distractor_that_it_hits_and_nothing_else() -> None:
    organ, one, other = box((2, 4, 2), (6, 8, 10)), box((0, 0, 2), (2, 3, 5)), box((0, 9, 2), (2, 12, 6))
    answers = GrowingAnswers(TrueWithin(organ | one | other), ONE)
    first = {1: points((4.5, 6.5, 5.5))}
    before = answers.answer(first, None)
    assert np.array_equal(before[1] > 0, organ | one | other)
    # The source still says that the distractor is in the target: a click is not overruled.
    second = {1: points((4.5, 6.5, 5.5), (0.5, 1.5, 3.5), positive=(True, False))}
    after = answers.answer(second, (before[1] > 0)[None])
    assert np.array_equal(after[1] > 0, organ | other)
    assert np.array_equal(after[1][~one], before[1][~one])


@pytest.mark.parametrize(("place", "left"), [((4.5, 6.5, 6.5), 0), ((1.5, 3.5, 2.5), 284)])
def test_a_negative_click_in_the_middle_of_an_unprompted_part_removes_it(
    place: tuple[float, float, float], left: int
) -> None:
    one, other = box((1, 3, 2), (7, 9, 10)), box((1, 3, 20), (7, 9, 28))  # 288 voxels each, at most 3 deep
    answers = GrowingAnswers(TrueWithin(one | other), ONE)  # which gives nothing up
    after = answers.answer({1: points(place, positive=(False,))}, (one | other)[None])[1] > 0
    # At a corner, half a token around the click are its voxel and three neighbours in the part.
    assert int((after & one).sum()) == left and np.array_equal(after & other, other)


def test_a_negative_click_in_a_leak_removes_what_the_network_gives_up() -> None:
    organ, leak = box((2, 4, 2), (6, 8, 10)), box((3, 8, 4), (5, 11, 6))
    answers = GrowingAnswers(TrueWithin(organ), ONE)
    prompts = {1: points((4.5, 6.5, 5.5), (3.5, 9.5, 4.5), positive=(True, False))}
    answers.answer({1: points((4.5, 6.5, 5.5))}, None)
    assert np.array_equal(answers.answer(prompts, (organ | leak)[None])[1] > 0, organ)


def test_a_negative_click_in_the_only_part_is_obeyed_around_it_alone() -> None:
    answers = GrowingAnswers(TrueWithin(LONG), ONE)
    before = answers.answer({1: points((4.5, 6.5, 5.5))}, None)[1] > 0
    prompts = {1: points((4.5, 6.5, 5.5), (3.5, 5.5, 9.5), positive=(True, False))}
    after = answers.answer(prompts, before[None])[1] > 0
    # Half a token is a radius of one voxel: the clicked voxel and its six neighbours.
    removed = np.argwhere(before & ~after).tolist()
    assert sorted(removed) == sorted([[3, 5, 9], [2, 5, 9], [4, 5, 9], [3, 4, 9], [3, 6, 9], [3, 5, 8], [3, 5, 10]])


def test_a_later_click_outweighs_an_earlier_one() -> None:
    answers = GrowingAnswers(TrueWithin(LONG), ONE)
    mask = answers.answer({1: points((4.5, 6.5, 5.5))}, None)[1] > 0
    again = ((4.5, 6.5, 5.5), (3.5, 5.5, 9.5), (3.5, 5.5, 9.5))
    mask = answers.answer({1: points(*again[:2], positive=(True, False))}, mask[None])[1] > 0
    assert not mask[3, 5, 9]
    mask = answers.answer({1: points(*again, positive=(True, False, True))}, mask[None])[1] > 0
    assert np.array_equal(mask, LONG)


def test_a_negative_click_beside_the_mask_changes_nothing() -> None:
    answers = GrowingAnswers(TrueWithin(LONG), ONE)
    before = answers.answer({1: points((4.5, 6.5, 5.5))}, None)
    prompts = {1: points((4.5, 6.5, 5.5), (0.5, 0.5, 0.5), positive=(True, False))}
    assert np.array_equal(answers.answer(prompts, (before[1] > 0)[None]), before)


def test_a_positive_click_that_the_network_denies_is_obeyed_around_it() -> None:
    found = GrowingAnswers(TrueWithin(np.zeros(SHAPE, bool)), ONE).answer({1: points((4.5, 6.5, 5.5))}, None)[1] > 0
    assert found.sum() == 7 and found[4, 6, 5]


def test_a_mask_to_start_from_gives_way_to_another_label_that_is_prompted() -> None:
    start = np.stack([box((2, 4, 2), (6, 8, 20)), np.zeros(SHAPE, bool)])
    inner = box((3, 5, 4), (5, 7, 8))
    logits = GrowingAnswers(TrueWithin(start[0], inner), TWO).answer({2: points((3.5, 5.5, 5.5))}, start)
    assert np.array_equal(logits.argmax(0) == 2, inner)
    assert np.array_equal(logits.argmax(0) == 1, start[0] & ~inner)
    # Where the network denies the click, its own place is the label's all the same.
    nothing = TrueWithin(start[0], np.zeros(SHAPE, bool))
    denied = GrowingAnswers(nothing, TWO).answer({2: points((3.5, 5.5, 5.5))}, start)
    assert (denied.argmax(0) == 2).sum() == 7 and denied[2].max() == CLICKED


def test_a_prompt_for_one_label_does_not_change_or_ask_for_the_others() -> None:
    a, b = box((2, 4, 2), (6, 8, 10)), box((2, 4, 20), (6, 8, 28))
    source = TrueWithin(a, b)
    answers = GrowingAnswers(source, TWO)
    first = answers.answer({1: points((4.5, 6.5, 5.5))}, None)
    asked = len(source.asked)
    second = answers.answer({1: points((4.5, 6.5, 5.5)), 2: points((4.5, 6.5, 24.5))},
                            np.stack([first[1] > 0, first[2] > 0]))
    assert np.array_equal(second[1], first[1]) and np.array_equal(second[2] > 0, b)
    assert {index for _, index in source.asked[asked:]} == {1}


def test_a_mask_that_was_on_another_grid_is_still_the_last_one_and_strokes_count() -> None:
    a, b = box((2, 4, 2), (6, 8, 10)), box((2, 4, 20), (6, 8, 28))
    source = TrueWithin(a, b)
    answers = GrowingAnswers(source, TWO)
    first = answers.answer({1: points((4.5, 6.5, 5.5))}, None)
    rounded = box((3, 4, 2), (6, 9, 10))  # a layer less on one side, one more on another
    stroke = box((0, 0, 50), (2, 2, 52))
    source.asked.clear()
    second = answers.answer({1: points((4.5, 6.5, 5.5)), 2: points((4.5, 6.5, 24.5))},
                            np.stack([rounded | stroke, np.zeros(SHAPE, bool)]))
    assert {index for _, index in source.asked} == {1}  # no other label was asked
    assert np.array_equal(second[1] > 0, a | stroke) and np.array_equal(second[1][~stroke], first[1][~stroke])


def test_labels_compete_and_regions_do_not() -> None:
    inner, outer = box((2, 4, 2), (6, 8, 10)), box((1, 3, 1), (7, 9, 11))
    prompts = points((4.5, 6.5, 5.5))
    regions = LabelSpace({"background": 0, "whole": (1, 2), "core": 2}, (1, 2))
    whole, core = GrowingAnswers(TrueWithin(outer, inner), regions).answer({(1, 2): prompts, 2: prompts}, None)
    assert np.array_equal(whole > 0, outer) and np.array_equal(core > 0, inner)


def test_replayed_prompts_give_the_same_answers() -> None:
    answers = GrowingAnswers(TrueWithin(LONG | box((0, 0, 2), (2, 2, 4))), ONE)
    steps = [{1: points((4.5, 6.5, 5.5))},
             {1: points((4.5, 6.5, 5.5), (0.5, 0.5, 2.5), positive=(True, False))}]

    def replayed() -> list[np.ndarray]:
        found: list[np.ndarray] = []
        for step in steps:
            found.append(answers.answer(step, found[-1][1:] > 0 if found else None))
        return found

    first, again = replayed(), replayed()
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_after_an_undo_the_next_prompt_goes_on_from_the_answer_before_the_undone_one() -> None:
    """Session.undo does not call `answer`: the next call has the mask before the undone prompt, and other prompts."""
    organ, one, other = box((2, 4, 2), (6, 8, 10)), box((0, 0, 2), (2, 3, 5)), box((0, 9, 2), (2, 12, 6))
    b = box((2, 4, 20), (6, 8, 28))
    first, in_one, in_other = (4.5, 6.5, 5.5), (0.5, 1.5, 3.5), (0.5, 10.5, 3.5)
    clicked = {1: points(first)}
    undone = {1: points(first, in_one, positive=(True, False))}
    following = {1: points(first, in_other, positive=(True, False))}

    def given(*steps: dict[int, LabelPrompts]) -> np.ndarray:
        answers = GrowingAnswers(TrueWithin(organ | one | other, b), TWO)
        before = answers.answer(clicked, None)
        logits = before
        for step in steps:
            logits = answers.answer(step, before[1:] > 0)  # each but the last is undone
        return logits

    assert np.array_equal(given(undone)[1] > 0, organ | other)
    # The same click again removes the same again; other clicks give what they give where nothing was undone.
    assert np.array_equal(given(undone, undone), given(undone))
    assert np.array_equal(given(undone, following), given(following))
    other_label = clicked | {2: points((4.5, 6.5, 24.5))}
    assert np.array_equal(given(other_label, following), given(following))
    assert np.array_equal(given(undone, other_label), given(other_label))


def test_the_same_click_after_another_mask_was_set_is_answered_from_that_mask() -> None:
    answers, click = GrowingAnswers(TrueWithin(LONG), ONE), {1: points((4.5, 6.5, 5.5))}
    answers.answer(click, None)
    start = box((0, 0, 56), (2, 2, 60))
    assert np.array_equal(answers.answer(click, start[None])[1] > 0, LONG | start)


@pytest.mark.parametrize("place", [(-3.0, 6.0, 5.0), (4.0, 6.0, 99.0)])
def test_prompts_outside_the_case_are_moved_into_it(place: tuple[float, float, float]) -> None:
    logits = GrowingAnswers(TrueWithin(LONG), ONE).answer({1: points(place)}, None)
    assert np.isfinite(logits).all()
