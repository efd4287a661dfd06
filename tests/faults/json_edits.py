"""JSON files of a place, what is no object, and edits that put something wrong into them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.entry import edit_json, preprocessed
from tests.faults.place import Place

Make = Callable[[Place], object]
At = Callable[[Place], Path]

NOT_OBJECTS: dict[str, bytes] = {
    "nothing": b"", "no JSON": b"{", "a list": b"[]", "text": b'"x"', "a number": b"7", "null": b"null",
    "an empty object": b"{}", "Latin-1": b'{"a": "\xff"}', "brackets 100,000 deep": b"[" * 100_000,
    "one key twice": b'{"a": 1, "a": 2}', "binary": bytes(range(256)),
}
WRONG: tuple[Any, ...] = (None, [], {}, "x", -1, 0, 1e30, 10**30, True, [None], ["a", "b", "c"], float("nan"), {"a": 1})


def plans_file(place: Place) -> Path:
    return preprocessed(place, "samunetPlans.json")


def splits_file(place: Place) -> Path:
    return preprocessed(place, "splits_final.json")


def groups_file(place: Place) -> Path:
    return preprocessed(place, "groups.json")


def model(place: Place) -> Path:
    return next(place.root.glob("results/*/label_prior__*"))


def written(at: At, content: bytes | str | Any) -> Make:
    def make(place: Place) -> None:
        at(place).write_bytes(content if isinstance(content, bytes) else content.encode() if isinstance(content, str)
                              else json.dumps(content).encode())

    return make


def with_value(at: At, *keys: str, value: Any) -> Make:
    """Set one value of a JSON file; a key that ends the path may be new."""

    def change(content: dict) -> None:
        inner: Any = content
        for key in keys[:-1]:
            inner = inner[next(iter(inner))] if key == "*" else inner[key]
        inner[keys[-1]] = value

    return lambda place: edit_json(at(place), change)


def without(at: At, *keys: str) -> Make:
    def change(content: dict) -> None:
        inner: Any = content
        for key in keys[:-1]:
            inner = inner[next(iter(inner))] if key == "*" else inner[key]
        del inner[keys[-1]]

    return lambda place: edit_json(at(place), change)


def shortened(value: Any) -> str:
    return str(value)[:20].replace("\n", " ")
