"""The page in headless Chromium: every tool, every plane, and nothing lost when the server is killed."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from annotation_server import Server, write_image
from PIL import Image

from samunet.dataset.dataset import load_dataset

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
REQUIRED = "samunet_test_browser"  # set in CI: no browser is a failure there
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]
PLANES = ("axial", "coronal", "sagittal")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        if os.environ.get(REQUIRED):
            pytest.fail(f"{REQUIRED} is set, and there is no Chromium")
        pytest.skip("no Chromium on this machine: install the package chromium")
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)  # with a new user data folder
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    opened = browser.new_page(viewport={"width": 1200, "height": 800})
    opened.faults = []
    opened.on("pageerror", lambda fault: opened.faults.append(str(fault)))
    yield opened
    assert opened.faults == []
    opened.close()


def settle(page: Any) -> None:
    """Wait until every request is answered and displayed."""
    page.wait_for_selector("body[data-busy='0']")


def show(page: Any, server: Server, case: str | None = None) -> None:
    page.goto("about:blank")
    page.goto(server.address + (f"#{case}" if case else ""))
    settle(page)


def press(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)
        settle(page)


def pixels(page: Any, plane: str) -> np.ndarray:
    """What a plane's canvas displays, (rows, columns, 3)."""
    return np.array(Image.open(io.BytesIO(page.locator(f"#{plane}").screenshot())).convert("RGB")).astype(int)


def bright(page: Any, plane: str) -> tuple[int, int, int, int]:
    """First and last row and column of the white pixels of a canvas: the one white voxel."""
    rows, columns = np.nonzero((pixels(page, plane) > 250).all(-1))
    return int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())


def click(page: Any, plane: str, row: float, column: float) -> None:
    edge = page.locator(f"#{plane}").bounding_box()
    page.mouse.click(edge["x"] + column, edge["y"] + row)
    settle(page)


def drag(page: Any, plane: str, *places: tuple[float, float]) -> None:
    edge = page.locator(f"#{plane}").bounding_box()
    points = [(edge["x"] + column, edge["y"] + row) for row, column in places]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=5)
    page.mouse.up()
    settle(page)


def scroll(page: Any, plane: str, row: float, column: float, notches: int, key: str | None = None) -> None:
    edge = page.locator(f"#{plane}").bounding_box()
    page.mouse.move(edge["x"] + column, edge["y"] + row)
    if key:
        page.keyboard.down(key)
    for _ in range(abs(notches)):
        page.mouse.wheel(0, 100 if notches > 0 else -100)
        settle(page)
    if key:
        page.keyboard.up(key)


def rotation(degrees: float) -> np.ndarray:
    angle = np.radians(degrees)
    return np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])


def affine(axes: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = axes * spacing
    matrix[:3, 3] = 12, -30, 7
    return matrix


GRIDS = {
    "flipped": ((14, 18, 12), affine(np.diag([-1, -1, 1]), (1.5, 1, 2))),
    "oblique": ((12, 14, 18), affine(rotation(25)[:, [1, 0, 2]] * [1, -1, -1], (1, 1, 1))),
    "thick": ((16, 18, 8), affine(np.eye(3), (1, 1, 10))),
}
WHITE = {"flipped": (4, 11, 7), "oblique": (7, 3, 11), "thick": (9, 5, 2)}  # (x, y, z) in the file


@pytest.fixture(scope="module")
def white_voxels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    """Three images, black but for one voxel."""
    folder = tmp_path_factory.mktemp("white")
    for name, (shape, matrix) in GRIDS.items():
        voxels = np.zeros(shape)
        voxels[WHITE[name]] = 100
        write_image(folder / "images" / f"{name}_0000.nii.gz", voxels, matrix)
    with Server("-i", folder / "images", "-o", folder / "Dataset501_White", "--labels", "dot=1") as server:
        yield server, folder / "Dataset501_White"


def displayed_at(name: str) -> tuple[int, int, int]:
    """Where nibabel says that the white voxel is, counted towards superior, posterior and left."""
    shape, matrix = GRIDS[name]
    voxels = np.zeros(shape)
    voxels[WHITE[name]] = 1
    canonical = nibabel.as_closest_canonical(nibabel.Nifti1Image(voxels, matrix)).get_fdata()
    right, anterior, superior = (int(axis[0]) for axis in np.nonzero(canonical))
    return superior, canonical.shape[1] - 1 - anterior, canonical.shape[0] - 1 - right


def last_point(output: Path, case: str) -> tuple[float, ...]:
    content = json.loads((output / "prompts" / f"{case}.json").read_text())
    return tuple(content["cases"][case]["dot"]["points"][-1])


@pytest.mark.parametrize("case", list(GRIDS))
def test_a_click_lands_on_the_voxel_under_the_pointer(page: Any, white_voxels: tuple[Server, Path], case: str) -> None:
    """In every plane, zoomed and not, at each corner of the one white voxel, as a screenshot displays it."""
    server, output = white_voxels
    show(page, server, case)
    place = displayed_at(case)
    for axis, plane in enumerate(PLANES):
        _, number, _, size = page.locator(f"#{plane} + span").inner_text().split()
        scroll(page, plane, 20, 20, place[axis] - (int(number) - 1))
        assert page.locator(f"#{plane} + span").inner_text() == f"{plane} {place[axis] + 1} / {size}"
    press(page, "p")
    for plane in PLANES:
        for zoomed in (False, True):
            top, bottom, left, right = bright(page, plane)
            if zoomed:
                scroll(page, plane, (top + bottom) / 2, (left + right) / 2, -4, "Control")
                top, bottom, left, right = bright(page, plane)
            for row, column in ((top + 1, left + 1), (top + 1, right - 1), (bottom - 1, left + 1),
                                (bottom - 1, right - 1)):
                click(page, plane, row, column)
                assert last_point(output, case) == WHITE[case], (plane, zoomed)
            click(page, plane, (top + bottom) / 2, right + 3)  # the neighbour
            found = np.subtract(last_point(output, case), WHITE[case])
            assert np.abs(found).sum() == 1, (plane, zoomed)
            press(page, "u")
        scroll(page, plane, (top + bottom) / 2, (left + right) / 2, 4, "Control")
