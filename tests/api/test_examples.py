"""Every example of the Python API runs, one after another, as a user would, on the phantom dataset."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest
from pages import ROOT, blocks

import samunet
from samunet.dataset import phantom

PAGE = ROOT / "documentation" / "reference" / "python-api.md"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the page's first block has been run; the phantom has a third of its slices."""
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"samunet_{name}", "")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(phantom, "SHAPE", (8, *phantom.SHAPE[1:]))
    monkeypatch.setattr("samunet.workers.default_workers", lambda: 1)  # processes take seconds to start
    exec(blocks(PAGE.read_text(encoding="utf-8"), "python")[0], {})  # noqa: S102 - the page's own code
    return tmp_path


def test_every_example_runs(folder: Path) -> None:
    predictor = samunet.Predictor
    documented = [samunet.plan, samunet.preprocess, samunet.train, predictor, predictor.predict,
                  predictor.predict_folder, samunet.evaluate, _benchmark(), samunet.Session]
    for each in documented:
        found = doctest.DocTestParser().get_doctest(each.__doc__ or "", {}, each.__qualname__, None, None)
        assert found.examples, f"{each.__qualname__} has no example"
        lines: list[str] = []
        outcome = doctest.DocTestRunner().run(found, out=lines.append)
        assert outcome.failed == 0, "".join(lines)
    assert (folder / "predictions" / "phantom_009.nii.gz").is_file()


def test_the_page_has_the_examples() -> None:
    shown = PAGE.read_text(encoding="utf-8")
    for name in ("plan", "preprocess", "train", "Predictor", "evaluate", "benchmark", "Session"):
        assert re.search(rf"^## samunet\.{name}$", shown, re.MULTILINE)
    assert shown.count("\n>>> import samunet\n") >= 6


def _benchmark():  # type: ignore[no-untyped-def]
    from samunet.api.benchmarking import benchmark

    return benchmark
