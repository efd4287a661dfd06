"""The benchmark's answer in a sentence, with numbers by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from samunet.benchmarking.answer import answers
from samunet.benchmarking.results import Result


def result(method: str, dice: Sequence[float], shots: int | None = 5, slices: int | None = None) -> Result:
    cases = {f"c{index}": {"1": {"Dice": value}} for index, value in enumerate(dice)}
    return Result(method, shots, {0: cases} if cases else {}, {}, variant=method, slices=slices)


BASE = [0.80, 0.70, 0.75, 0.82, 0.78, 0.74, 0.71, 0.79]


def plus(*differences: float) -> list[float]:
    return [value + difference for value, difference in zip(BASE, differences, strict=True)]


# Of 8 patients, half with one difference and half with another, a bootstrap mean is low + (high - low) * B / 8 with
# B of Binomial(8, 1/2); P(B = 0) = 0.4 % and P(B <= 1) = 3.5 %, so the interval goes from B = 1 to B = 7.
BETTER = result("hybrid", plus(*[0.02, 0.06] * 4))
EVEN = result("hybrid", plus(*[-0.02, 0.06] * 4))


def answer(results: Sequence[Result], reference: str = "label_prior", groups: dict[str, str] | None = None) -> str:
    [sentence] = answers(results, reference, "label_prior", groups)
    return sentence


def test_a_decided_answer() -> None:
    assert answer([result("nnunet_2d", BASE), BETTER]) == (
        "From 5 labelled cases, hybrid is better than nnU-Net 2d on this data by 0.040 [0.025, 0.055] Dice "
        "(8 validation cases).")


def test_an_undecided_answer() -> None:
    assert answer([EVEN, result("atlas", BASE)]) == (
        "From 5 labelled cases, it is undecided whether hybrid or atlas is better on this data: hybrid is ahead by "
        "0.020 [-0.010, 0.050] Dice (8 validation cases), an interval that contains 0.")


def test_few_patients_decide_nothing() -> None:
    groups = {f"c{index}": f"p{index // 2}" for index in range(8)}
    assert answer([BETTER, result("atlas", BASE)], groups=groups).endswith(
        "(8 validation cases), but 4 patients are too few to decide.")


def test_the_opponent_is_the_runner_up_or_a_reference_that_was_named() -> None:
    prior, atlas = result("label_prior", [value - 0.2 for value in BASE]), result("atlas", BASE)
    assert "hybrid is better than atlas" in answer([prior, atlas, BETTER])
    assert "hybrid is better than atlas" in answer([prior, atlas, BETTER], "hybrid")
    unet = result("unet", [value - 0.1 for value in BASE])
    assert "hybrid is better than unet on this data by 0.140" in answer([prior, atlas, unet, BETTER], "unet")


def test_who_leads_on_the_common_cases_is_named_as_ahead() -> None:
    """`unet` has the higher mean, over a case that the other lacks; on the 8 common cases it is behind."""
    easy = result("unet", [*BASE, 3.0])
    found = answer([easy, BETTER])
    assert "hybrid is better than unet on this data by 0.040 [0.025, 0.055] Dice (8 validation" in found


@pytest.mark.parametrize(("shots", "slices", "text"), [
    (None, None, "From all labelled cases,"), (1, None, "From 1 labelled case,"),
    (5, 10, "From 5 labelled cases (10 slices),"), (None, 10, "From 10 labelled slices,")])
def test_the_amount_of_labels(shots: int | None, slices: int | None, text: str) -> None:
    assert answer([result("atlas", [0.5, 0.5], shots, slices)]) == (
        f"{text} atlas reaches Dice 0.500 [0.500, 0.500] (2 validation cases); there is no other method to compare it "
        "with.")


def test_each_number_of_shots_has_a_sentence_and_nothing_complete_says_so() -> None:
    found = [result("a", BASE, 1), result("a", BASE, 5), result("b", BASE, 5)]
    both = answers(found, "label_prior", "label_prior", None)
    assert [sentence[:20] for sentence in both] == ["From 1 labelled case", "From 5 labelled case"]
    assert answer([result("a", []), result("b", [math.nan])]) == "No setting is complete yet."
