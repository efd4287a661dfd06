"""Links, anchors, snippets and paths of the pages: each leads somewhere, each parses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from pages import FOR_USERS, PAGES, ROOT, anchors, blocks, name_of, spans, unfenced

PATHS = re.compile(r"(?:samunet|tests|studies|documentation)/[\w./-]*\w")  # as code spans name files of the repository
ROOMS = [path.name for path in (ROOT / "samunet").iterdir() if (path / "__init__.py").is_file()]


@pytest.mark.parametrize(
    "heading, anchor",
    [
        ("## `3d_adapter`: the *headline*", "3d_adapter-the-headline"),
        ("### Small GPUs and processors", "small-gpus-and-processors"),
        ("# [A link](x.md) & more", "a-link--more"),
    ],
)
def test_anchors_by_hand(heading: str, anchor: str) -> None:
    assert anchors(f"{heading}\n```\n# no heading\n```\n") == {anchor}


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_links_lead_to_files_and_headings(path: Path) -> None:
    text = unfenced(path.read_text(encoding="utf-8"))
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", text):
        file = (path.parent / target).resolve() if target else path
        assert file.exists(), f"{name_of(path)} links to {target}"
        if anchor:
            assert anchor in anchors(file.read_text(encoding="utf-8")), f"{name_of(path)} links to {target}#{anchor}"


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_python_blocks_compile(path: Path) -> None:
    for number, block in enumerate(blocks(path.read_text(encoding="utf-8"), "python")):
        source = block if not block.lstrip().startswith('"') or '"""' in block else f"{{{block}}}"  # an entry of a dict
        compile(source, f"{name_of(path)}, block {number}", "exec")


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_json_blocks_parse(path: Path) -> None:
    for block in blocks(path.read_text(encoding="utf-8"), "json"):
        json.loads(block if block.lstrip().startswith("{") else f"{{{block}}}")


@pytest.mark.parametrize("path", FOR_USERS, ids=name_of)
def test_files_of_the_repository_that_a_page_names_exist(path: Path) -> None:
    for span in spans(path.read_text(encoding="utf-8")):
        first = span.partition("/")[0]
        if re.fullmatch(PATHS, span):
            assert (ROOT / span).exists(), f"{name_of(path)} names {span}"
        elif first in ROOMS and re.fullmatch(r"\w+(/\w+)+\.py", span):
            assert (ROOT / "samunet" / span).is_file(), f"{name_of(path)} names {span}"


def test_pages_that_the_code_names_exist() -> None:
    named = [
        (path, page)
        for folder in ("samunet", "studies", "tests")
        for path in (ROOT / folder).rglob("*.py")
        for page in re.findall(r"(?:documentation|studies)/[\w/-]+\.(?:md|png)", path.read_text(encoding="utf-8"))
    ]
    assert [f"{name_of(path)}: {page}" for path, page in named if not (ROOT / page).exists()] == []
