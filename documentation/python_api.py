"""The page of the Python API: signatures and docstrings of the stable names, read from the sources."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from samunet.cli import options

ROOT = Path(__file__).parents[1]
SOURCES = {  # stable name -> its file, in the order of a job
    "plan": "api/preparation.py",
    "preprocess": "api/preparation.py",
    "train": "api/training.py",
    "Predictor": "api/prediction.py",
    "evaluate": "api/evaluation.py",
    "benchmark": "api/benchmarking.py",
    "Session": "interaction/session.py",
}
SECTIONS = ("Arguments", "Returns", "Yields", "Raises", "Example")
INTRODUCTION = """# Python API

<!-- Written by documentation/generate.py from the docstrings: edit those. -->

What the commands do, from Python: the commands call these functions and nothing else. The names on this page are
stable; `import samunet` is fast, and each name imports what it needs when it is first used. Bad input raises
`samunet.errors.UserError`, whose message names the rule, the place, what was found and what to do. Progress goes to
stderr.

Arrays are (z, y, x), as SimpleITK and nnU-Net index them, with channels or classes first. Spacings are (z, y, x) in mm.

In signatures, `Folder` is `str | Path | None`, and `Image` an array, a file, or a list of one file for each channel.

The examples use the synthetic dataset of `samunet_demo`, in folders that these lines make:

```python
import os

from samunet.dataset.phantom import make_phantom_dataset

os.environ.update(samunet_raw="raw", samunet_preprocessed="preprocessed", samunet_results="results")
make_phantom_dataset("raw")
```

A variant that looks at the image is trained in the same way as `label_prior`, which takes a second.
On Windows and macOS, put calls that work in several processes under `if __name__ == "__main__":`.
"""


def page() -> str:
    """The whole page."""
    lines = [INTRODUCTION]
    for name, file in SOURCES.items():
        tree = ast.parse((ROOT / "samunet" / file).read_text(encoding="utf-8"))
        node = next(node for node in tree.body
                    if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name)
        lines += _documented(node, f"## samunet.{name}", name)
        if name == "Session":
            lines += ["Its methods are on the page [Session](session.md).", ""]
        elif isinstance(node, ast.ClassDef):
            for method in _public_methods(node):
                lines += _documented(method, f"### {name}.{method.name}", method.name)
    return "\n".join(lines).rstrip() + "\n"


def _public_methods(node: ast.ClassDef) -> Iterator[ast.FunctionDef]:
    for method in node.body:
        if (isinstance(method, ast.FunctionDef) and not method.name.startswith("_")
                and "overload" not in map(ast.unparse, method.decorator_list)):
            yield method


def _documented(node: ast.FunctionDef | ast.ClassDef, heading: str, name: str) -> Iterator[str]:
    """Heading, signature, and the docstring as Markdown."""
    yield from (heading, "")
    if signature := _signature(node, name):
        yield from ("```text", signature, "```", "")
    yield from _markdown(inspect.cleandoc(ast.get_docstring(node) or ""))


def _signature(node: ast.FunctionDef | ast.ClassDef, name: str) -> str:
    """`name(arguments) -> type`, an argument a line; empty for a property."""
    function = node
    if isinstance(node, ast.ClassDef):
        function = next(each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__")
    assert isinstance(function, ast.FunctionDef)
    if "property" in map(ast.unparse, function.decorator_list):
        return ""
    own = [each for each in function.args.args if each.arg != "self"]
    defaults = [None] * (len(own) - len(function.args.defaults)) + list(function.args.defaults)
    given = [_argument(each, default) for each, default in zip(own, defaults, strict=True)]
    named = [_argument(each, default)
             for each, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)]
    arguments = ",\n".join(f"    {each}" for each in [*given, *(["*"] if named else []), *named])
    returned = f" -> {ast.unparse(function.returns)}" if function.returns and node is function else ""
    return f"{name}(\n{arguments},\n){returned}" if arguments else f"{name}(){returned}"


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    kind = f": {ast.unparse(argument.annotation)}" if argument.annotation else ""
    if default is None:
        return f"{argument.arg}{kind}"
    value = repr(getattr(options, default.id)) if isinstance(default, ast.Name) else ast.unparse(default)
    return f"{argument.arg}{kind} = {value}"


def _markdown(docstring: str) -> Iterator[str]:
    """Paragraphs as they are; sections under bold titles, arguments and errors as lists, examples as blocks."""
    parts = re.split(rf"^({'|'.join(SECTIONS)}):", docstring, flags=re.MULTILINE)
    yield from (_plain(parts[0]).strip(), "")
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        text = inspect.cleandoc(body)
        yield from (f"**{title}**", "")
        if title == "Example":
            yield from ("```pycon", text, "```")
        elif title in ("Arguments", "Raises") and not body.startswith(" "):
            items = re.split(r"\n(?=\S)", text)
            yield from (f"- {_item(item)}" for item in items)
        else:
            yield _plain(text)
        yield ""


def _item(item: str) -> str:
    names, _, text = item.partition(":")
    return f"`{names}`: {_plain(' '.join(text.split()))}"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is: angle brackets outside code escaped."""
    return "".join(part if part.startswith("`") else part.replace("<", "&lt;")
                   for part in re.split(r"(`[^`]*`)", text))
