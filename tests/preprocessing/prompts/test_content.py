"""The published schema of a prompts file, and the examples of the pages."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
from pages import ROOT, blocks

from samunet.dataset.labels import LabelSpace
from samunet.preprocessing.prompts.content import json_schema
from samunet.preprocessing.prompts.file import read_prompts

SCHEMA = ROOT / "documentation" / "reference" / "prompts-file.schema.json"
PAGES = [ROOT / "documentation" / "reference" / "prompts-file.md", ROOT / "documentation" / "how-to" / "prompts.md"]
LABELS = LabelSpace({"background": 0, "anterior": 1, "posterior": 2})


def test_the_published_schema_is_up_to_date() -> None:
    made = runpy.run_path(str(ROOT / "documentation" / "generate.py"))["prompts_schema"]()
    assert SCHEMA.read_text(encoding="utf-8") == made, "run: python documentation/generate.py"


def test_the_schema_says_what_the_reader_refuses() -> None:
    kinds = json_schema()["$defs"]
    assert kinds["PromptsContent"]["required"] == ["space", "cases"]
    assert kinds["PromptsContent"]["properties"]["space"] == {"enum": ["voxel", "world_mm"]}
    assert kinds["PointContent"]["required"] == ["at"] and kinds["BoxContent"]["required"] == ["min", "max"]
    assert kinds["PointContent"]["properties"]["positive"] == {"type": "boolean", "default": True}
    assert all(kind["additionalProperties"] is False for kind in kinds.values())
    assert kinds["LabelContent"]["properties"]["points"]["maxItems"] == 20_000


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_examples_of_the_pages_are_read(page: Path, tmp_path: Path) -> None:
    [example] = blocks(page.read_text(encoding="utf-8"), "json")
    (tmp_path / "earlier").mkdir()
    (tmp_path / "earlier" / "hippocampus_003.nii.gz").touch()  # a case's mask is read with the case
    (tmp_path / "prompts.json").write_text(example)
    prompts = read_prompts(tmp_path / "prompts.json", LABELS)
    anterior = prompts.cases["hippocampus_001"][1]
    assert anterior.positive.tolist() == [True, True, False] and anterior.points[2].tolist() == [17, 30, 14]
    assert prompts.kinds >= {"points", "negative points", "boxes"}
    assert list(prompts.masks) == list(json.loads(example).get("masks", {}))
