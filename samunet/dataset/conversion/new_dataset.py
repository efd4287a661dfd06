"""A raw dataset that a conversion writes: its name and number must be free, and it is there whole or not at all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from samunet.dataset.paths import Paths
from samunet.errors import UserError
from samunet.files import whole_folder
from samunet.locks import lock_beside, owned

_NAME = re.compile(r"Dataset([0-9]{3,})_[^/\\\x00-\x1f]+")


@contextmanager
def new_dataset(name: str, paths: Paths) -> Iterator[Path]:
    """Yield an empty folder that becomes `<raw>/<name>` when the block succeeds.

    Raises:
        UserError: a name other than DatasetXXX_NAME, a number that a raw, preprocessed or trained dataset has, a place
            that cannot be written.
    """
    number = _number(name)
    target = paths.raw / name
    with owned(lock_beside(target), target):
        for root in (paths.raw, paths.preprocessed, paths.results):
            for folder in sorted(root.glob("Dataset*_*")):
                if folder.is_dir() and _NAME.fullmatch(folder.name) and _number(folder.name) == number:
                    raise UserError("The number of a new dataset must be free.", where=folder, found=folder.name,
                                    mend="Choose another number, or remove that folder.")
        with whole_folder(target) as work:
            yield work


def _number(name: str) -> int:
    found = _NAME.fullmatch(name)
    if found is None or len(name.encode()) > 200:
        raise UserError("A dataset's name must be DatasetXXX_NAME, XXX a number of three digits or more.",
                        found=name[:200], mend="Write for example Dataset004_Hippocampus.")
    return int(found[1])
