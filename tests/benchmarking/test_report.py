"""The report's page: whole HTML, nothing fetched, sliders that show their slices, and no fault in a browser."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from samunet.benchmarking import report as report_module
from samunet.benchmarking.comparison import compare
from samunet.benchmarking.jobs import Benchmark
from samunet.benchmarking.report import write_report
from samunet.benchmarking.results import gather
from samunet.benchmarking.tables import summary_rows
from samunet.dataset.dataset import load_dataset
from samunet.dataset.paths import Paths
from samunet.training.run import ensure_trained

pytestmark = pytest.mark.skipif(importlib.util.find_spec("jinja2") is None, reason="needs jinja2")
ASKED = Benchmark("5", ("label_prior", "linear_head"), ("0",), (None, 2), 1, "untrained", "tiny", "cpu", iterations=3)
VOID = {"meta", "img", "input", "br", "link", "hr"}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


class Page(HTMLParser):
    """Every element with its attributes, in order, and the text of scripts and styles.

    A tag closed out of turn is a fault.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.code = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("script", "style"):
            self.code += data


@pytest.fixture(scope="module")
def report(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    paths = Paths(prepared / "raw", prepared / "preprocessed", tmp_path_factory.mktemp("report"))
    for job in ASKED.jobs():
        ensure_trained(ASKED.request(job), paths, trained_by="samunet_benchmark", workers=1)
    results = gather(ASKED, paths, {}, ".nii.gz")
    rows = list(summary_rows(results, compare(results, "label_prior", None), None))
    dataset = load_dataset(paths.raw / "Dataset005_Made")
    path = paths.results / "report.html"
    write_report(path, ASKED, results, rows, "label_prior", None, dataset, paths, "samunet_benchmark -d 5")
    return path


def test_the_page_is_whole_and_fetches_nothing(report: Path) -> None:
    page = Page(report.read_text(encoding="utf-8"))
    assert page.open == [] and [tag for tag, _ in page.elements[:2]] == ["html", "head"]
    addresses = [value for _, attributes in page.elements for name, value in attributes.items()
                 if name in ("src", "srcset", "href", "xlink:href", "action", "data", "poster")]
    assert addresses and all(address.startswith(("data:image/png;base64,", "#")) for address in addresses)
    styles = page.code + "".join(attributes.get("style", "") for _, attributes in page.elements)
    assert not re.findall(r"@import|url\((?!#)|https?:|fetch\(|XMLHttpRequest", styles)


def test_the_page_says_what_was_compared(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    assert text.count("<svg") == 6  # efficiency, time, 2 pairs, 2 classes; 3 iterations make no curve
    assert "Dice of big" in text and "Dice of class" not in text  # the label's name
    assert "From all labelled cases, it is undecided whether" in text and "but 3 patients are too few" in text
    assert "Label efficiency" in text and "linear_head" in text and "samunet_benchmark -d 5" in text


def test_each_slider_belongs_to_one_image_and_starts_at_its_slice(report: Path) -> None:
    page = Page(report.read_text(encoding="utf-8"))
    pictures = [attributes for tag, attributes in page.elements if tag == "img"]
    sliders = [attributes for tag, attributes in page.elements if tag == "input" and "data-slices" in attributes]
    assert len(pictures) == len(sliders) == 3 * 4  # best, median and worst of two methods at two numbers of shots
    for picture, slider in zip(pictures, sliders, strict=True):
        slices = json.loads(slider["data-slices"])
        assert (slider["type"], slider["min"], slider["max"]) == ("range", "0", str(len(slices) - 1))
        assert slices[int(slider["value"])] == picture["src"]
    assert len(json.loads(sliders[0]["data-slices"])) == 2  # the prior's: of three slices, two hold foreground


def test_a_run_that_trained_nothing_has_no_curve(tmp_path: Path) -> None:
    line = {"iteration": 50, "loss": 0.5, "learning_rate": 0.001, "seconds": 2.0}
    for variant, text in (("in_context", ""), ("fewshot", json.dumps(line) + "\n")):
        (tmp_path / variant).mkdir()
        (tmp_path / variant / "log.jsonl").write_text(text)
    benchmark: Any = SimpleNamespace(folds=("0",), folder=lambda job, _: tmp_path / job.variant)
    results: Any = [SimpleNamespace(variant=name, method=name, shots=5, slices=None)
                    for name in ("in_context", "fewshot", "atlas")]
    curves = report_module._curves(benchmark, results, Paths(tmp_path, tmp_path, tmp_path))
    assert curves == {"fewshot": [{**line, "pseudo_dice": None}]}


@pytest.fixture
def browser() -> Iterator[Any]:
    """Chromium without a window: playwright's own, or one that is installed."""
    driver = pytest.importorskip("playwright.sync_api", reason="needs playwright and a Chromium")
    installed = next(filter(None, map(shutil.which, BROWSERS)), None)
    with driver.sync_playwright() as playwright:
        if installed is None and not Path(playwright.chromium.executable_path).is_file():
            pytest.skip("playwright has no Chromium, and none is installed")
        browser = playwright.chromium.launch(executable_path=installed, args=["--no-sandbox"])
        yield browser
        browser.close()


def test_columns_are_sorted_by_a_click_and_shown_by_a_checkbox(report: Path, browser: Any) -> None:
    page = browser.new_page()
    page.goto(report.as_uri())
    heads = page.locator(".sortable th").all_text_contents()
    assert heads[:4] == ["method", "shots", "Dice", "difference"] and "NSD" in heads
    assert not page.locator(".sortable th", has_text="NSD").is_visible()
    page.check("#all")
    assert page.locator(".sortable th", has_text="NSD").is_visible()

    def cells(column: str) -> list[str]:
        place = heads.index(column) + 1
        return page.locator(f".sortable tbody td:nth-child({place})").all_text_contents()

    before = cells("Dice")
    ascending = sorted(before, key=lambda text: float(text.split()[0]))
    assert len({*before}) > 2
    page.get_by_role("button", name="Dice", exact=True).click()
    assert cells("Dice") == ascending
    page.get_by_role("button", name="Dice", exact=True).click()
    assert [text.split()[0] for text in cells("Dice")] == [text.split()[0] for text in ascending[::-1]]
    page.get_by_role("button", name="shots", exact=True).click()
    assert cells("shots") == ["2", "2", "all", "all"]  # what is no number comes last


def test_a_moved_slider_shows_its_slice_in_a_browser(report: Path, browser: Any) -> None:
    page, faults, asked = browser.new_page(), [], []
    page.on("pageerror", lambda fault: faults.append(str(fault)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())
    slider, picture = page.locator(".case input").first, page.locator(".case img").first
    slices = json.loads(slider.get_attribute("data-slices"))
    assert picture.get_attribute("src") == slices[1]
    slider.fill("0")
    assert picture.get_attribute("src") == slices[0] != slices[1]
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 28
    assert faults == [] and [url for url in asked if not url.startswith("data:")] == [report.as_uri()]
