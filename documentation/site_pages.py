"""Hooks of mkdocs: pages from outside documentation/, with links that also work in a repository browser.

The studies, CHANGELOG.md and CONTRIBUTING.md join the site under their own paths, and so does the list of all modules.
"""

from __future__ import annotations

import posixpath
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

HERE = Path(__file__).parent
ROOT = HERE.parent
LINK = re.compile(r"(\]\()([^)#:\s]+)(#[^)]*)?\)")

sys.path.insert(0, str(HERE))
generate = import_module("generate")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages and images from outside documentation/."""
    for path in [
        ROOT / "CHANGELOG.md",
        ROOT / "CONTRIBUTING.md",
        *sorted((ROOT / "studies").glob("*.md")),
        *sorted((ROOT / "studies").glob("*.png")),
    ]:
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    files.append(File.generated(config, "reference/modules.md", content=generate.api_page()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Turn links between documentation/ and its neighbours into links of the site."""
    source = page.file.src_uri
    folder = posixpath.dirname(source if _is_outside(source) else f"documentation/{source}")

    def moved(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, link[2]))
        on_site = target.removeprefix("documentation/")
        if files.get_file_from_path(on_site) is None:
            return link[0]
        return f"{link[1]}{posixpath.relpath(on_site, posixpath.dirname(source) or '.')}{link[3] or ''})"

    return LINK.sub(moved, markdown)


def _is_outside(source: str) -> bool:
    return source.startswith("studies/") or source in ("CHANGELOG.md", "CONTRIBUTING.md")
