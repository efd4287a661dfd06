"""Decoding of JSON into dataclasses: what is wrong is one UserError with file and field."""

from dataclasses import dataclass
from typing import Annotated

import msgspec
import pytest

from samunet.errors import UserError
from samunet.schema import decode


@dataclass(frozen=True)
class Tile:
    shape: tuple[int, int]
    step: Annotated[float, msgspec.Meta(gt=0, le=1)]
    name: str = "whole"


def decoded(content):
    return decode(Tile, content, rule="A tile must be right.", where="tile.json", mend="Plan again.")


def test_lists_become_tuples_and_defaults_are_filled():
    assert decoded({"shape": [3, 4], "step": 1}) == Tile((3, 4), 1.0, "whole")


@pytest.mark.parametrize(("content", "field"), [
    ({"shape": [3, 4], "step": 0}, "$.step"),
    ({"shape": [3, 4], "step": float("nan")}, "$.step"),
    ({"shape": [3, 4], "step": "1"}, "$.step"),
    ({"shape": [3], "step": 1}, "$.shape"),
    ({"shape": [3, 4.5], "step": 1}, "$.shape[1]"),
    ({"shape": [3, True], "step": 1}, "$.shape[1]"),
    ({"shape": [3, 4]}, "step"),
    ([], "array"),
    (None, "null"),
])
def test_a_wrong_value_is_named_by_its_path(content, field):
    with pytest.raises(UserError, match="A tile must be right") as caught:
        decoded(content)
    assert field in caught.value.found
    assert (caught.value.where, caught.value.mend) == ("tile.json", "Plan again.")


@dataclass(frozen=True)
class Grid:
    tiles: dict[str, Tile]
    origin: tuple[float, ...]


def test_all_wrong_fields_are_named_with_what_they_hold():
    with pytest.raises(UserError) as caught:
        decode(Grid, {"tiles": {"a": {"shape": [3, 4], "step": 2}, "b": {"shape": "34"}}, "origin": [1, None]},
               rule="A grid must be right.", where="grid.json")
    assert caught.value.found == ("Expected `float` <= 1.0 - at `$.tiles.a.step`, of 2; Expected `array`, got `str` - "
                                  "at `$.tiles.b.shape`, of '34'; no `step` - at `$.tiles.b`; Expected `float`, got "
                                  "`null` - at `$.origin[1]`, of [1, None]")


def test_nan_is_read_where_it_is_allowed():
    content = [1.0, float("inf")]
    assert decode(list[float], content, rule="", where="", finite=False) == content
    with pytest.raises(UserError, match="not finite"):
        decode(list[float], content, rule="", where="")
