"""Names and colours of labels: one palette everywhere, distinct without red or green vision, readable by viewers."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
from skimage.color import rgb2lab

from samunet.dataset.label_colours import COLOURS, colour_of, names_of, write_label_colours
from samunet.dataset.labels import LabelSpace

# Machado, Oliveira and Fernandes (2009), severity 1.0, on linear RGB: rows give red, green, blue.
BLINDNESS = {
    "none": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                            [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                              [-0.011820, 0.042940, 0.968881]]),
    "tritanopia": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                            [0.004733, 0.691367, 0.303900]]),
}


def seen(rgb: tuple[int, int, int], matrix: np.ndarray) -> np.ndarray:
    values = np.array(rgb) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    changed = np.clip(matrix @ linear, 0, 1)
    return rgb2lab(np.where(changed <= 0.0031308, 12.92 * changed, 1.055 * changed ** (1 / 2.4) - 0.055))


@pytest.mark.parametrize("blindness", BLINDNESS)
def test_seven_colours_stay_apart(blindness: str) -> None:
    """2.3 in CIELAB is just noticeable."""
    lab = [seen(colour, BLINDNESS[blindness]) for colour in COLOURS[:7]]
    assert min(np.linalg.norm(one - other) for one, other in itertools.combinations(lab, 2)) > 10


def test_colours_repeat_after_fourteen() -> None:
    assert colour_of(1) == (213, 94, 0) and colour_of(8) == (234, 174, 127) and colour_of(15) == colour_of(1)
    assert len(set(COLOURS)) == 14


def test_files_for_viewers(tmp_path: Path) -> None:
    labels = LabelSpace({"background": 0, "whole": (1, 2), 'the "core"\n': 2, "ignore": 3}, (1, 2))
    assert names_of(labels, 1) == "whole" and names_of(labels, 2) == 'whole, the "core"\n'
    write_label_colours(tmp_path, labels)
    assert json.loads((tmp_path / "label_colours.json").read_text()) == {"labels": [
        {"value": 1, "name": "whole", "rgb": [213, 94, 0]},
        {"value": 2, "name": 'whole, the "core"\n', "rgb": [86, 180, 233]}]}
    rows = [re.fullmatch(r'\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d)\s+(\d)\s+(\d)\s+"([^"]*)"', line).groups()
            for line in (tmp_path / "label_colours.label").read_text().splitlines() if not line.startswith("#")]
    assert rows == [("0", "0", "0", "0", "0", "0", "0", "Clear Label"),
                    ("1", "213", "94", "0", "1", "1", "1", "whole"),
                    ("2", "86", "180", "233", "1", "1", "1", "whole, the 'core'")]
