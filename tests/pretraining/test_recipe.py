"""Phases as they are written, the step at which one follows the other, and the learning rate by hand."""

from __future__ import annotations

import math

import pytest

from samunet.errors import UserError
from samunet.pretraining.recipe import (
    DECODER_RATE,
    DECODER_STEPS,
    DECODER_UPDATES,
    FIRST_LESSON,
    LOSSES,
    SHARES,
    THROUGH_DECODER,
    Phase,
    Recipe,
)


def test_a_phase_is_size_steps_and_families() -> None:
    assert Phase.parse("128:4000:4") == Phase(size=128, steps=4000, families=4, part="all")


def test_a_phase_may_train_a_part() -> None:
    assert Phase.parse("64:10:1:encoder") == Phase(64, 10, 1, "encoder")
    with pytest.raises(UserError, match="must be one of all, encoder, decoder") as caught:
        Phase.parse("64:10:1:1")
    assert caught.value.found == "64:10:1:1"


@pytest.mark.parametrize("text", ("128", "128:4000", "128:4000:4:all:1", "128:many:4", "", "128x4000x4", "1e2:4:4"))
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(UserError) as caught:
        Phase.parse(text)
    assert caught.value.rule == "A phase must be SIZE:STEPS:FAMILIES or SIZE:STEPS:FAMILIES:PART."
    assert (caught.value.where, caught.value.found) == ("--phases", text)
    assert caught.value.mend == "Write it as in 128:4000:4 or 128:4000:4:encoder."


@pytest.mark.parametrize("text", ("48:10:1", "0:10:1", "72:10:1", "1040:10:1", "64:0:1", "64:10000001:1", "64:10:0",
                                  "64:10:65", "64:-3:1"))
def test_numbers_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="multiple of 16 from 64 to 1024, its steps 1 to 10000000 and its families 1 to "
                                        "64") as caught:
        Phase.parse(text)
    assert caught.value.found == text


def test_the_next_phase_begins_when_the_steps_of_the_one_before_are_done() -> None:
    first, second = Phase(64, 3, 1), Phase(128, 2, 1)
    recipe = Recipe((first, second))
    assert recipe.steps == 5
    assert [recipe.phase_at(step) for step in range(5)] == [first] * 3 + [second] * 2
    with pytest.raises(IndexError, match="after the last phase"):
        recipe.phase_at(5)


def test_rate_warms_up_then_falls_by_half_a_cosine_to_a_hundredth() -> None:
    recipe = Recipe((Phase(64, 300, 1),), learning_rate=1e-3, warmup_steps=100)
    assert recipe.rate_at(0) == pytest.approx(1e-5)
    assert recipe.rate_at(49) == pytest.approx(5e-4)
    assert recipe.rate_at(99) == recipe.rate_at(100) == pytest.approx(1e-3)
    assert recipe.rate_at(200) == pytest.approx(1e-3 * (0.01 + 0.99 / 2))  # half of the 200 steps after the warm-up
    # The last step lies 1/200 before the cosine's end.
    assert recipe.rate_at(299) == pytest.approx(1e-3 * (0.01 + 0.99 * (1 - math.cos(math.pi / 200)) / 2))
    assert recipe.rate_at(299) == pytest.approx(1e-5, rel=0.01)


def test_each_part_has_a_course_of_its_own_over_all_its_phases() -> None:
    recipe = Recipe((Phase(64, 200, 1, "encoder"), Phase(128, 100, 1, "encoder"), Phase(64, 150, 1, "decoder")),
                    warmup_steps=100)
    alone = Recipe((Phase(64, 300, 1),), warmup_steps=100)
    assert [recipe.rate_at(step) for step in range(300)] == [alone.rate_at(step) for step in range(300)]
    # The decoder's hundred updates of warm-up are 25 steps.
    assert recipe.rate_at(300) == pytest.approx(recipe.learning_rate * DECODER_RATE * DECODER_UPDATES / 100)
    assert recipe.rate_at(325) == pytest.approx(recipe.learning_rate * DECODER_RATE)
    assert [recipe.course_at(step) for step in (0, 299, 300, 449)] == [
        ("encoder", 0, 300), ("encoder", 299, 300), ("decoder", 0, 150), ("decoder", 149, 150)]
    with pytest.raises(IndexError, match="after the last phase"):
        recipe.rate_at(450)


def test_a_part_is_trained_by_its_losses_and_no_others() -> None:
    recipe = Recipe((Phase(64, 1, 1), Phase(64, 1, 1, "encoder"), Phase(64, 1, 1, "decoder")),
                    losses=("promptable", "probe"))
    assert [recipe.losses_at(step) for step in range(3)] == [("promptable", "probe"), ("probe",), ("promptable",)]


def test_a_run_shorter_than_the_warm_up_never_reaches_the_peak() -> None:
    recipe = Recipe((Phase(64, 10, 1),))
    assert [recipe.rate_at(step) for step in (0, 9)] == pytest.approx([4e-6, 4e-5])


def test_losses_through_the_decoder_grow_to_their_share_after_its_first_lesson() -> None:
    recipe = Recipe((Phase(64, DECODER_STEPS + 100, 1),))
    assert set(SHARES) == set(LOSSES) and THROUGH_DECODER == ("promptable", "in_context")
    middle = (FIRST_LESSON + DECODER_STEPS) // 2
    for loss in LOSSES:
        begun = [recipe.share_at(loss, step) / SHARES[loss]
                 for step in (0, FIRST_LESSON, middle, DECODER_STEPS, DECODER_STEPS + 99)]
        assert begun == ([0, 0, 0.5, 1, 1] if loss in THROUGH_DECODER else [1] * 5)


def test_each_course_begins_with_the_decoders_first_lesson() -> None:
    alone = FIRST_LESSON // DECODER_UPDATES  # steps, each of which makes several updates
    recipe = Recipe((Phase(64, FIRST_LESSON + 1, 1), Phase(64, alone, 1, "decoder"), Phase(128, 1, 1, "decoder")))
    found = [recipe.first_lesson_at(step) for step in range(recipe.steps)]
    assert found == [True] * FIRST_LESSON + [False] + [True] * alone + [False]


def test_the_decoder_counts_the_steps_that_trained_it() -> None:
    recipe = Recipe((Phase(64, 3, 1, "decoder"), Phase(64, 4, 1, "encoder"), Phase(128, 2, 1)))
    assert [recipe.decoder_steps(step) for step in range(9)] == [0, 1, 2, 3, 3, 3, 3, 3, 4]


def test_all_that_decides_a_run_is_in_its_json() -> None:
    told = Recipe((Phase(64, 10, 2),), seed=4, losses=("probe",)).to_json()
    assert told["phases"] == ({"size": 64, "steps": 10, "families": 2, "part": "all"},)
    assert told["losses"] == ["probe"] and told["seed"] == 4
    assert told["shares"] == SHARES and (told["patients"], told["slices"]) == (4, 2)
