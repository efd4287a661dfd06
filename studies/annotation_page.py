"""The two images of documentation/how-to/annotate.md: python studies/annotation_page.py WORK documentation/how-to

WORK receives a synthetic dataset and a model of `sam_zeroshot` with the shipped encoder on it. Needs Chromium.
"""

from __future__ import annotations

import argparse
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from samunet.cli.plan_and_preprocess import main as plan_and_preprocess
from samunet.cli.train import main as train
from samunet.dataset.phantom import LABELS, NAME, make_phantom_dataset

ANNOTATE = "import sys; from samunet.cli.entry import annotate; sys.exit(annotate())"
VIEW = {"width": 1100, "height": 700}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args(arguments)
    model = model_in(options.work)
    images = options.work / "raw" / NAME / "imagesTr"
    classes = [f"{name}={value}" for name, value in LABELS.items() if value]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport=VIEW)
        with server(images, options.work / "Dataset901_Clicks", "-m", model) as address:
            page.goto(address)
            prompts(page)
            page.screenshot(path=options.output / "annotate-click.png")
        with server(images, options.work / "Dataset902_Brush", "--labels", *classes) as address:
            page.goto(address)
            brush(page)
            page.screenshot(path=options.output / "annotate-brush.png")
        browser.close()


def model_in(work: Path) -> Path:
    """The folder of the model, trained if it is not there."""
    folders = [text for name in ("raw", "preprocessed", "results") for text in (f"--{name}", str(work / name))]
    pattern = f"{NAME}/sam_zeroshot__*"
    if not list((work / "results").glob(pattern)):
        make_phantom_dataset(work / "raw")
        assert plan_and_preprocess(["-d", "900", *folders]) == 0
        assert train(["900", "sam_zeroshot", "0", "--oracle_prompts", "point", "-device", "cpu", *folders]) == 0
    return next((work / "results").glob(pattern))


@contextmanager
def server(images: Path, output: Path, *options: object) -> Iterator[str]:
    """The address of the running page; the output folder begins empty."""
    shutil.rmtree(output, ignore_errors=True)
    command = [sys.executable, "-c", ANNOTATE, "-i", images, "-o", output, *options, "--no_browser"]
    process = subprocess.Popen([str(each) for each in command], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        yield next(found[0] for line in process.stderr if (found := re.search(r"http://\S+", line)))
    finally:
        process.kill()
        process.wait()


def prompts(page: Any) -> None:
    """A box around the shell over several slices, then a click in the tube."""
    settle(page)
    page.locator("#depth").fill("15")
    page.locator("#depth").blur()
    press(page, "b")
    drag(page, "axial", (-0.29, -0.22), (0.1, 0.19))
    press(page, "p", "3")
    drag(page, "axial", (0.25, 0.26))


def brush(page: Any) -> None:
    """Strokes of three classes in two planes; the first case is finished."""
    settle(page)
    press(page, "d", "]", "r")
    page.locator("#radius").fill("3")
    page.locator("#radius").blur()
    ring = [(-0.03 + 0.13 * math.sin(angle / 4), -0.11 + 0.12 * math.cos(angle / 4)) for angle in range(26)]
    drag(page, "axial", *ring)
    press(page, "2")
    drag(page, "coronal", (-0.17, -0.24), (-0.17, -0.12))
    press(page, "3")
    drag(page, "axial", (0.25, 0.22), (0.25, 0.25))


def settle(page: Any) -> None:
    page.wait_for_selector("body[data-busy='0']")


def press(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)
        settle(page)


def drag(page: Any, plane: str, *places: tuple[float, float]) -> None:
    """Drag through places (down, right) in fractions of the plane's height from its middle."""
    edge = page.locator(f"#{plane}").bounding_box()
    points = [(edge["x"] + edge["width"] / 2 + right * edge["height"],
               edge["y"] + edge["height"] / 2 + down * edge["height"]) for down, right in places]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=8)
    page.mouse.up()
    settle(page)


if __name__ == "__main__":
    main()
