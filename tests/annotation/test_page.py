"""The page in headless Chromium: every tool, every plane, and nothing lost when the server is killed."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Iterator
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from annotation_server import Server, write_image
from PIL import Image

from samunet.dataset.dataset import load_dataset

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
REQUIRED = "SAMUNET_REQUIRE_BROWSER"  # set in CI: no browser is a failure there
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]
PLANES = ("axial", "coronal", "sagittal")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    missing = [name for name, found in (("Chromium", CHROMIUM), ("the Python package playwright",
                                                                  find_spec("playwright"))) if found is None]
    if missing:
        reason = f"needs {' and '.join(missing)} on this machine"
        if os.environ.get(REQUIRED):
            pytest.fail(f"{reason}, and {REQUIRED} is set")
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)  # with a new user data folder
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    opened = browser.new_page(viewport={"width": 900, "height": 600})
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
    """In every plane, zoomed and not, at opposite corners of the one white voxel, as a screenshot displays it.

    Then this voxel is painted, and the label has it alone, with the image's geometry.
    """
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
            for row, column in ((top + 1, right - 1), (bottom - 1, left + 1)):
                click(page, plane, row, column)
                assert last_point(output, case) == WHITE[case], (plane, zoomed)
            click(page, plane, (top + bottom) / 2, right + 1.5)  # the neighbour
            found = np.subtract(last_point(output, case), WHITE[case])
            assert np.abs(found).sum() == 1, (plane, zoomed)
            press(page, "u", "v")
            click(page, plane, (top + bottom) / 2, (left + right) / 2)  # back
            press(page, "p")
        scroll(page, plane, (top + bottom) / 2, (left + right) / 2, 4, "Control")
    page.locator("#radius").fill("0")
    page.locator("#radius").blur()
    press(page, "r")
    click(page, plane, (top + bottom) / 2, (left + right) / 2)
    press(page, "d")
    label = nibabel.load(output / "labelsTr" / f"{case}.nii.gz")
    image = nibabel.load(output / "imagesTr" / f"{case}_0000.nii.gz")
    np.testing.assert_allclose(label.affine, image.affine, atol=1e-5)
    np.testing.assert_array_equal(np.asarray(label.dataobj), image.get_fdata() == 100)


@pytest.fixture
def discs(tmp_path: Path) -> Path:
    """Two cases with a bright ball of radius 5 mm in the middle, and the folder for their annotations."""
    z, y, x = np.ogrid[:12, :24, :24]
    for name, matrix in (("first", affine(rotation(20), (1, 1, 2))), ("second", affine(np.eye(3), (1, 1, 2)))):
        ball = (2 * (z - 6)) ** 2 + (y - 12) ** 2 + (x - 12) ** 2 <= 25
        write_image(tmp_path / "images" / f"{name}.nii.gz", np.where(ball, 100, 10).T, matrix)
    return tmp_path


def start(folder: Path) -> Server:
    return Server("-i", folder / "images", "-o", folder / "Dataset502_Balls", "--labels", "ball=1", "rim=2")


def saved(folder: Path, case: str) -> tuple[dict[str, Any], np.ndarray]:
    """The prompts and the mask (x, y, z) of a case as they are on disk now."""
    output = folder / "Dataset502_Balls"
    prompts = json.loads((output / "prompts" / f"{case}.json").read_text())["cases"][case]
    mask = nibabel.load(output / "sessions" / case / "session_mask.nii.gz")
    image = nibabel.load(folder / "images" / f"{case}.nii.gz")
    np.testing.assert_allclose(mask.affine, image.affine, atol=1e-5)
    return prompts, np.asarray(mask.dataobj)


def middle(page: Any, plane: str) -> tuple[float, float]:
    edge = page.locator(f"#{plane}").bounding_box()
    return edge["height"] / 2, edge["width"] / 2


def test_a_case_from_the_first_click_to_the_dataset(page: Any, discs: Path) -> None:
    """Click, correct, undo twice, redo, box, brush, eraser, next case; kill the server, go on; finish."""
    with start(discs) as server:
        show(page, server)
        row, column = middle(page, "axial")
        press(page, "p")
        click(page, "axial", row + 3, column + 3)
        press(page, "n", "2")
        click(page, "coronal", *np.add(middle(page, "coronal"), (-3, 60)))
        prompts, _ = saved(discs, "first")
        assert prompts["ball"] == {"points": [[11, 11, 6]]}
        assert [point["positive"] for point in prompts["rim"]["points"]] == [False]
        press(page, "u", "u")
        assert saved(discs, "first")[0] == {}
        assert page.locator("#undo").is_disabled()
        press(page, "y")
        assert saved(discs, "first")[0] == {"ball": {"points": [[11, 11, 6]]}}
        press(page, "b", "1")
        drag(page, "axial", (row - 30, column - 40), (row + 30, column + 40))
        (box,) = saved(discs, "first")[0]["ball"]["boxes"]
        assert box["min"][2] == box["max"][2] == 6
        assert all(low < 11 < high for low, high in zip(box["min"][:2], box["max"][:2], strict=True))
        press(page, "r")
        drag(page, "axial", (row, column - 40), (row, column + 40))
        mask = saved(discs, "first")[1]
        assert mask[11, 11, 6] == 1 and set(np.nonzero(mask)[2]) == {6}
        press(page, "e")
        click(page, "axial", row + 3, column + 3)
        erased = saved(discs, "first")[1]
        assert erased[11, 11, 6] == 0 and 0 < (erased == 1).sum() < (mask == 1).sum()
        press(page, "]")
        assert page.locator("li.current").inner_text() == "second"
        press(page, "r")
        click(page, "sagittal", *middle(page, "sagittal"))
        server.kill()
        press(page, "u")  # nothing answers
        page.wait_for_selector("#message:not([hidden])")
        assert "The server does not answer" in page.locator("#message").inner_text()
    with start(discs) as server:
        show(page, server, "first")
        assert (saved(discs, "first")[1] == erased).all()
        press(page, "u")
        assert (saved(discs, "first")[1] == mask).all()
        press(page, "d")
        assert page.locator("li.finished").inner_text() == "first"
        dataset = load_dataset(discs / "Dataset502_Balls")
        assert [case.name for case in dataset.cases] == ["first"]
        label = nibabel.load(dataset.cases[0].label)
        assert (np.asarray(label.dataobj) == mask).all()
        np.testing.assert_allclose(label.affine, nibabel.load(dataset.cases[0].images[0]).affine, atol=1e-5)


def test_a_second_tab_shows_the_same_state_and_undoes_nothing_unseen(page: Any, browser: Any, discs: Path) -> None:
    with start(discs) as server:
        show(page, server)
        other = browser.new_page(viewport={"width": 900, "height": 600})
        other.route("**/state?*", lambda route: route.abort())  # it does not learn of changes
        show(other, server)
        press(page, "p")
        click(page, "axial", *middle(page, "axial"))
        press(other, "p", "2")
        click(other, "coronal", *middle(other, "coronal"))
        assert set(saved(discs, "first")[0]) == {"ball", "rim"}
        press(other, "u")
        assert set(saved(discs, "first")[0]) == {"ball"}
        page.wait_for_selector("#redo:not([disabled])")  # by its own polling
        other.close()


def test_the_page_s_own_script_is_short() -> None:
    script = resources.files("samunet.annotation").joinpath("page", "page.js").read_text(encoding="utf-8")
    assert len(script.splitlines()) < 400 and "http" not in script and "import" not in script


def test_window_and_level_and_the_values_under_the_pointer(page: Any, discs: Path) -> None:
    with start(discs) as server:
        show(page, server)
        row, column = middle(page, "axial")
        edge = page.locator("#axial").bounding_box()
        page.mouse.move(edge["x"] + column + 3, edge["y"] + row + 3)
        assert page.locator("#under").inner_text() == "voxel 6 12 12: 100, background"
        press(page, "r")
        page.mouse.down()
        page.mouse.up()
        settle(page)
        assert page.locator("#under").inner_text() == "voxel 6 12 12: 100, ball"
        scroll(page, "axial", row + 3, column + 3, 1)
        assert page.locator("#under").inner_text() == "voxel 7 12 12: 100, background"
        press(page, "u", "v")
        scroll(page, "axial", row + 3, column + 3, -1)
        assert (pixels(page, "axial")[int(row) + 5, int(column) + 25] > 250).all()
        page.locator("#level").fill("100")
        page.locator("#window").fill("180")  # from 10 to 190
        page.locator("#window").blur()
        settle(page)
        assert abs(pixels(page, "axial")[int(row) + 5, int(column) + 25] - 127.5).max() < 2
