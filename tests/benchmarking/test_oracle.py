"""Every table marks results whose prompts come from the reference labels."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path

import pytest

from samunet.benchmarking.benchmark import run_benchmark
from samunet.benchmarking.jobs import Benchmark, Job
from samunet.benchmarking.results import marked
from samunet.cli import benchmark as command
from samunet.dataset.paths import Paths
from samunet.errors import UserError
from samunet.files import read_json
from samunet.variants.registry import VARIANTS

ASKED = Benchmark("5", ("label_prior", "sam_zeroshot"), ("0",), (None,), 1, "untrained", "tiny", "cpu",
                  oracle_prompts="box3d")
MARKED = "sam_zeroshot (oracle box3d)"


def test_every_table_marks_the_oracle(paths: Paths, here: None) -> None:
    folder = run_benchmark(ASKED, paths, workers=None, scheduler=None, reference="sam_zeroshot", command="")
    rows = read_json(folder / "summary.json")
    assert [row["method"] for row in rows] == ["label_prior", MARKED]
    # The reference may be named as the variant is.
    assert "difference" in rows[0] and "difference" not in rows[1] and rows[1]["why"] == ""
    names = {line["method"] for line in csv.DictReader((folder / "cases.csv").open())}
    assert names == {"label_prior", MARKED}
    assert f"| {MARKED} |" in (folder / "summary.md").read_text()
    if importlib.util.find_spec("jinja2"):
        text = (folder / "report.html").read_text(encoding="utf-8")
        assert text.count("sam_zeroshot") == text.count(MARKED) > 3


def test_a_name_is_marked_by_what_the_runs_did() -> None:
    assert marked("sam_zeroshot", [{"settings": {"oracle_prompts": "point"}}] * 2) == "sam_zeroshot (oracle point)"
    assert marked("sam_zeroshot", [{"settings": {"oracle_prompts": None}}, {"settings": {}}]) == "sam_zeroshot"
    assert marked("sam_zeroshot", []) == "sam_zeroshot"
    relaxed = {"settings": {"oracle_prompts": "box3d", "box_relax": 10.0}}
    assert marked("3d_adapter_box", [relaxed]) == "3d_adapter_box (oracle box3d relaxed 10 %)"
    assert marked("3d_adapter_box", [{"settings": {"oracle_prompts": "box3d",
                                                   "box_relax": None}}]) == "3d_adapter_box (oracle box3d)"


def test_points_are_refused_by_those_that_answer_boxes_alone(paths: Paths) -> None:
    asked = Benchmark("5", ("3d_adapter_box",), ("0",), (None,), 1, "untrained", "tiny", "cpu", oracle_prompts="point")
    with pytest.raises(UserError, match="answers boxes, masks alone"):
        run_benchmark(asked, paths, workers=None, scheduler=None, reference=None, command="")


def test_only_promptable_variants_get_prompts() -> None:
    kinds = {name: ASKED.request(Job(name, "0", None, 0)).oracle_prompts for name in (*ASKED.variants, "nnunet_2d")}
    assert kinds == {"label_prior": None, "sam_zeroshot": "box3d", "nnunet_2d": None}


def test_without_an_oracle_they_are_refused_before_anything_runs(paths: Paths) -> None:
    asked = Benchmark("5", ("label_prior", "sam_zeroshot"), ("0",), (None,), 1, "untrained", "tiny", "cpu")
    with pytest.raises(UserError, match="needs some"):
        run_benchmark(asked, paths, workers=None, scheduler=None, reference=None, command="")
    assert not paths.results.exists()


ONLY_NAMED = ("swin_unetr", "ux_net", "nnformer")  # the largest networks


@pytest.mark.parametrize(("flags", "expected"), [
    ([], [name for name, known in VARIANTS.items() if not known.prompts and name not in ONLY_NAMED]),
    (["--oracle_prompts", "points10"],
     [name for name in VARIANTS if name not in ("3d_adapter_box", *ONLY_NAMED)]),
    (["--oracle_prompts", "box3d"], [name for name in VARIANTS if name not in ONLY_NAMED]),
    (["--variants", "ux_net"], ["ux_net"]),
    (["--variants", "probe"], ["probe"]),
])
def test_every_variant_means_those_with_available_prompts(monkeypatch, tmp_path: Path, flags, expected) -> None:
    asked: list[Benchmark] = []
    monkeypatch.setattr("samunet.api.benchmarking.run_benchmark",
                        lambda benchmark, *_, **__: asked.append(benchmark) or tmp_path)
    folders = [word for name in ("--raw", "--preprocessed", "--results") for word in (name, str(tmp_path))]
    assert command.main(["-d", "5", *flags, *folders]) == 0
    assert list(asked[0].variants) == expected and asked[0].oracle_prompts == (flags[1] if "--oracle_prompts" in flags
                                                                               else None)
