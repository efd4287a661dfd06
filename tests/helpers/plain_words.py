"""Words that samunet's texts for users do not use, and where such texts are: pages, help texts, messages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

# Pattern of the words (any case), and what to write instead. "draw" (which K cases) and
# "vote" (label fusion) are proper.
INSTEAD = {
    r"told|tells|telling|tell apart": "says, reports, differs significantly from",
    r"asked|asks|ask by": "prompted by, requested, query, prompt",
    r"anew": "again, rebuilt, recomputed",
    r"made[- ]up": "synthetic",
    r"made (?:data|datasets?|anatom\w+|tumou?rs?|famil\w+|objects?|pictures?|images?|scans?|cases?|sets?)": "synthetic",
    r"pictures?": "image, encoder image, crop",
    r"(?<!standard )deviations?(?! from)": "standard deviation",
    r"comparators?": "baseline",
    r"kept votes|keeps votes": "vote cache",
    r"what is drawn": "samples",
    r"mean over votes|equal votes": "averaged overlapping predictions",
    r"increments?": "low-rank updates",
    r"let it be|left alone|spoils?|spoiled": "skipped, unchanged, corrupted",
    r"nobody|somebody": "no prompt was given; the person or file that is meant",
    r"(?:no|a|have|has) say(?= |$|[.,;:])": "does not contribute",
    r"at hand": "available, current",
    r"(?:lies?|lay|lying|stands?|stood|standing) (?:in|there)(?! the plane)": "is in, is there",
}
_PATTERN = re.compile("|".join(rf"\b(?P<p{number}>{words})\b" for number, words in enumerate(INSTEAD)), re.IGNORECASE)


def offenders(text: str) -> list[tuple[str, str]]:
    """The words of a text that are not to be used, in order, each with what to write instead."""
    return [(match[0], INSTEAD[list(INSTEAD)[int(str(match.lastgroup)[1:])]]) for match in _PATTERN.finditer(text)]


def prose(markdown: str) -> str:
    """A page without fenced blocks, code spans and link targets, its paragraphs on one line each."""
    text = re.sub(r"^ *```.*?^ *```", "", markdown, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"``.+?``|`[^`]+`", "`", text)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    return re.sub(r"(?<!\n)\n(?!\n)", " ", text)


def messages(path: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of a module's literal strings of more than one word that are no docstring: what its users can read.

    These are errors, printed lines, help texts and the reasons in plans. Parts of an f-string are one text,
    with `{}` for a value.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    passed = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            passed |= {id(part) for part in node.values}
            yield (
                node.lineno,
                "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values),
            )
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in passed
            and " " in node.value.strip()
        ):
            yield node.lineno, node.value
