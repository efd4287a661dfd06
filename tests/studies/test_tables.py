"""The tables of the pages are those of the records."""

from __future__ import annotations

from types import ModuleType

import pytest


@pytest.fixture
def tables(script) -> ModuleType:
    return script("tables")


def test_every_page_is_up_to_date(tables: ModuleType) -> None:
    texts = {page: page.read_text(encoding="utf-8") for page in tables.pages()}
    stale = [page.name for page, text in texts.items() if tables.rewritten(text) != text]
    assert not stale, "run: python studies/tables.py"


def test_every_table_is_on_a_page(tables: ModuleType) -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in tables.pages())
    assert [name for name in tables.TABLES if f"<!-- table {name} -->" not in text] == []


def test_only_what_is_between_the_markers_is_written(tables: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "TABLES", {"two by hand": lambda: "| a |\n|---|\n| 1 |"})
    page = "before\n<!-- table two by hand -->\nold\n<!-- end of table -->\nafter\n"
    written = "before\n<!-- table two by hand -->\n| a |\n|---|\n| 1 |\n<!-- end of table -->\nafter\n"
    assert tables.rewritten(page) == written and tables.rewritten(written) == written


def test_cells_by_hand(script) -> None:
    form = script("table_format")
    assert form.markdown(["a", "b"], [[1, None]]) == "| a | b |\n|---|---|\n| 1 |  |"
    assert form.signed({"mean": 0.0061, "low": -0.0049, "high": 0.018}) == "+0.006 [-0.005, +0.018]"
    assert (
        form.code("sam_zeroshot (oracle point)") == "`sam_zeroshot` (oracle point)" and form.code("atlas") == "`atlas`"
    )
    assert [form.span(numbers) for numbers in (290, [286, 324, 300], [5, 5], [0, 0], None)] == [
        "290",
        "286 to 324",
        "5",
        "",
        "",
    ]
