"""The phantom with a third of its slices, and plans for short runs: the same steps, fewer images for the encoder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from samunet.dataset import phantom
from samunet.files import read_json, write_json

SLICES = 8


def small_phantom(raw: Path, *, cases: int, test_cases: int = 2) -> Path:
    """The phantom dataset with 6 to 10 slices a case; returns its folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phantom, "SHAPE", (SLICES, *phantom.SHAPE[1:]))
        return phantom.make_phantom_dataset(raw, cases=cases, test_cases=test_cases)


def shorten(plans: Path, **changes: int) -> None:
    """Change settings of embeddings in a plans file, as a user may: such as `input_size` and `view_pictures`."""
    content = read_json(plans)
    for section in content["encoders"].values():
        assert changes.keys() <= section["embeddings"].keys()
        section["embeddings"].update(changes)
    write_json(plans, content)


if __name__ == "__main__":  # in a shell script: python small_phantom.py plans.json name=number ...
    shorten(Path(sys.argv[1]), **{name: int(value) for name, value in (each.split("=") for each in sys.argv[2:])})
