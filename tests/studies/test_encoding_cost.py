"""The table by hand: costs, Dice of each head, and what is paired with the first choice."""

from __future__ import annotations

from types import ModuleType

import pytest


@pytest.fixture
def study(script) -> ModuleType:
    return script("encoding_cost")


def test_a_choice_has_a_tile_pixels_and_a_step_of_a_half(study) -> None:
    assert study.choice_of("160x135@256") == (160, 135, 256, 0.5)
    assert study.choice_of("59x43@128/0.75") == (59, 43, 128, 0.75)
    with pytest.raises(SystemExit, match="not 59@128"):
        study.choice_of("59@128")


def test_validation_cases_are_spread_over_the_sorted_list(study) -> None:
    assert study.spread(list("abcdefgh"), 4) == list("aceg")
    assert study.spread(list("abcdefg"), 3) == list("ace")
    assert study.spread(list("ab"), 5) == list("ab")


def records(study, dice: dict[tuple[str, str], dict[str, float]], seconds: dict[tuple[str, str], float]) -> dict:
    def key(choice: str, job: str, fold: str):
        return study.Key("D", "e", choice, job, fold, 2, 0, 80)

    encoded = {key(choice, study.ENCODE, fold): {
        "encode_seconds_per_case": each, "images_per_case": 35, "tokens_per_case": 35 * 64, "mb_per_case": 1.25,
        "voxels_per_token": 59 * 16 / 128} for (choice, fold), each in seconds.items()}
    return encoded | {key(choice, "cnn_head", fold): {"dice": cases} for (choice, fold), cases in dice.items()}


def test_folds_are_joined_and_the_same_cases_are_paired(study) -> None:
    made = records(study, {("a", "1"): {"x": 0.5, "y": 0.7}, ("a", "2"): {"z": 0.6},
                           ("b", "1"): {"x": 0.4, "y": 0.6}, ("c", "2"): {"z": 0.7}},
                   {("a", "1"): 1.0, ("a", "2"): 2.0, ("b", "1"): 0.25, ("c", "2"): 4.0})
    lines = study.table(made, ["a", "b", "c", "not yet run"], None).splitlines()
    assert lines[0] == "| choice | voxels a token | tokens a case | s a case | MB a case | `cnn_head` | difference |"
    # The mean of 1 and 2 s; (0.5 + 0.7 + 0.6) / 3.
    assert lines[2] == "| `a` | 7.4 | 2240 | 1.50 | 1.25 | 0.600 |  |"
    # 0.1 less in both cases of fold 1; 0.1 more in the one of fold 2.
    assert lines[3] == "| `b` | 7.4 | 2240 | 0.25 | 1.25 | 0.500 | -0.100 [-0.100, -0.100] |"
    assert lines[4].startswith("| `c` | 7.4 | 2240 | 4.00 | 1.25 | 0.700 | +0.100")
    assert len(lines) == 5


def test_a_choice_without_a_finished_head_has_its_cost_alone(study) -> None:
    made = records(study, {("a", "1"): {"x": 0.5, "y": 0.7}}, {("a", "1"): 1.0, ("b", "1"): 0.25})
    assert study.table(made, ["a", "b"], None).splitlines()[3] == "| `b` | 7.4 | 2240 | 0.25 | 1.25 |  |  |"


def test_the_page_pairs_what_both_choices_have(script) -> None:
    tables = script("tables_speed")
    first = {"x": 0.5, "y": 0.7, "z": 0.6}
    assert tables._paired({"x": 0.4, "y": 0.6}, first) == ["0.500 (2)", "-0.100 [-0.100, -0.100]"]
    assert tables._paired(first, first) == ["0.600 (3)", ""]
    assert tables._paired({}, first) == ["", ""]
