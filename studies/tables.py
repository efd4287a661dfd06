"""Write the tables of the studies' pages, and the README's, from the records in `results/`.

    python studies/tables.py            rewrite every table that is out of date
    python studies/tables.py --check    only name the pages that are; exit code 1 if there are any

A page holds a table between two comments, `<!-- table NAME -->` and `<!-- end of table -->`. What is between
them is never typed by hand.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import tables_clicks
import tables_ensemble
import tables_folds
import tables_heads
import tables_hippocampus
import tables_methods
import tables_mini
import tables_quality
import tables_speed
import tables_tests

ROOT = Path(__file__).parents[1]
TABLES: Mapping[str, Callable[[], str]] = {
    **tables_clicks.TABLES,
    **tables_ensemble.TABLES,
    **tables_folds.TABLES,
    **tables_heads.TABLES,
    **tables_hippocampus.TABLES,
    **tables_methods.TABLES,
    **tables_mini.TABLES,
    **tables_quality.TABLES,
    **tables_speed.TABLES,
    **tables_tests.TABLES,
}
_BLOCK = re.compile(r"(<!-- table ([^>]+?) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def pages() -> list[Path]:
    """Every page that may hold tables."""
    return [
        ROOT / "README.md",
        *sorted((ROOT / "studies").glob("*.md")),
        *sorted((ROOT / "documentation").rglob("*.md")),
    ]


def rewritten(text: str) -> str:
    """The page with the present tables. A name that no function makes raises KeyError."""
    return _BLOCK.sub(lambda block: f"{block[1]}{TABLES[block[2]]()}\n{block[3]}", text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args()
    changed = []
    for page in pages():
        old = page.read_text(encoding="utf-8")
        if (new := rewritten(old)) != old:
            changed.append(page.relative_to(ROOT))
            if not options.check:
                page.write_text(new, encoding="utf-8")
    print(
        "\n".join(f"{'out of date' if options.check else 'rewritten'}: {page}" for page in changed)
        or "all tables are up to date"
    )
    sys.exit(bool(changed) and options.check)


if __name__ == "__main__":
    main()
