"""No text that users read has a word of samunet's former dialect: 0 in pages, help texts and messages."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from pages import FOR_USERS as PAGES
from pages import ROOT, SCRIPTS, name_of
from plain_words import messages, offenders, prose

MODULES = sorted((ROOT / "samunet").rglob("*.py"))


@pytest.mark.parametrize(
    "text, found",
    [
        ("The user is told which encoder it was.", ["told"]),
        ("Embeddings are computed again; a draw of 5 cases; votes of label fusion.", []),
        ("Made anatomies and a made-up dataset", ["Made anatomies", "made-up"]),
        ("an MRI picture divided by its deviation", ["picture", "deviation"]),
        ("its standard deviation; deviations from the publication", []),
        ("tiles that were not asked have no say", ["asked", "no say"]),
        ("the file lies in a folder, the slice at hand", ["lies in", "at hand"]),
    ],
)
def test_words_are_found(text: str, found: list[str]) -> None:
    assert [word for word, _ in offenders(text)] == found


def test_code_and_links_are_no_prose() -> None:
    page = "See [the page](asked.md) about `view_pictures`,\nat\nhand.\n```bash\ntold\n```\n"
    assert [word for word, _ in offenders(prose(page))] == ["at hand"]


def test_messages_of_a_module_are_found(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        '"""The user is told."""\nraise UserError(f"{name} was told", mend="try again" if x else "make anew")\n'
        'say("it lies in " + place)\nparser.add_argument("asked", help="one picture" " of two")\n'
    )
    assert sorted(messages(module)) == [
        (2, "make anew"),
        (2, "try again"),
        (2, "{} was told"),
        (3, "it lies in "),
        (4, "one picture of two"),
    ]


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_pages_use_the_field_s_words(path: Path) -> None:
    lines = [f"{word} -> {instead}" for word, instead in offenders(prose(path.read_text(encoding="utf-8")))]
    assert not lines, f"{path.relative_to(ROOT)}:\n" + "\n".join(lines)


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_texts_use_the_field_s_words(name: str) -> None:
    text = " ".join(importlib.import_module(f"samunet.cli.{name}").parser().format_help().split())
    assert not offenders(text), f"samunet_{name} --help: " + "; ".join(f"{w} -> {i}" for w, i in offenders(text))


def test_messages_use_the_field_s_words() -> None:
    lines = [
        f"{path.relative_to(ROOT)}:{line}: {word} -> {instead}   ({' '.join(text.split())[:90]})"
        for path in MODULES
        for line, text in messages(path)
        for word, instead in offenders(text)
    ]
    assert not lines, f"{len(lines)} words of messages:\n" + "\n".join(lines)
