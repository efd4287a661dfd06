"""The Markdown pages of the repository, and what is in them: fenced blocks, code spans, headings."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOR_USERS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "documentation").rglob("*.md"))]
PAGES = [*FOR_USERS, ROOT / "CHANGELOG.md", *sorted((ROOT / "studies").glob("*.md"))]
SCRIPTS = re.findall(r'^    "(\w+)",$', (ROOT / "setup.py").read_text(encoding="utf-8"), re.MULTILINE)
_BLOCK = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


def name_of(path: Path) -> str:
    """The page's path in the repository, to name a test by."""
    return path.relative_to(ROOT).as_posix()


def blocks(text: str, *languages: str) -> list[str]:
    """The fenced blocks of a page in one of `languages`, in order."""
    return [block for _, language, block in _BLOCK.findall(text) if language in languages]


def unfenced(text: str) -> str:
    """The page without its fenced blocks."""
    return _BLOCK.sub("", text)


def spans(text: str) -> list[str]:
    """The code spans outside fenced blocks."""
    return re.findall(r"`([^`\n]+)`", unfenced(text))


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as repository browsers and mkdocs make them of such headings."""
    titles = re.findall(r"^#+ (.+)$", unfenced(text), re.MULTILINE)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title).replace("`", "") for title in titles]
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in plain}
