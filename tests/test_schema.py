"""Decoding of JSON into dataclasses: what is wrong is one UserError with file and field."""

from dataclasses import dataclass, field
from typing import Annotated

import msgspec
import pytest
from msgspec import Meta

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


@dataclass(frozen=True)
class _Item:
    number: int


@dataclass(frozen=True)
class _Listing:
    items: Annotated[list[_Item], Meta(max_length=3)] = field(default_factory=list)


def test_every_faulty_item_of_a_list_is_named() -> None:
    with pytest.raises(UserError) as caught:
        decode(_Listing, {"items": [{"number": "1"}, {"number": 2}, {}]}, rule="R.", where="f")
    assert caught.value.found == (
        "Expected `int`, got `str` - at `$.items[0].number`, of '1'; no `number` - at `$.items[2]`")
    with pytest.raises(UserError, match=r"length <= 3 - at `\$\.items`"):
        decode(_Listing, {"items": [{"number": 1}] * 4}, rule="R.", where="f")


def test_unknown_keys_are_refused_at_every_depth_where_the_caller_wants_it() -> None:
    content = {"items": [{"number": 1, "colour": 2}], "more": 3}
    assert decode(_Listing, content, rule="R.", where="f") == _Listing([_Item(1)])
    with pytest.raises(UserError) as caught:
        decode(_Listing, content, rule="R.", where="f", exact=True)
    assert caught.value.found == "unknown `colour` - at `$.items[0]`; unknown `more` - at `$`"
