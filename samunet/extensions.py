"""Variants, readers and loggers of other packages, by Python's entry points; none is imported before it is used."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cache
from typing import TYPE_CHECKING, Any

from samunet.errors import UserError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

VARIANTS, READERS, LOGGERS = "samunet.variants", "samunet.readers", "samunet.loggers"
SHIPPED_LOGGERS = {
    "tensorboard": "samunet.training.tensorboard_logger:TensorBoardLogger",
    "wandb": "samunet.training.wandb_logger:WandbLogger",
}
# Names become parts of folder names, in which `__` separates.
_NAME = re.compile(r"(?!.*__)[A-Za-z0-9][A-Za-z0-9_]*(?<!_)")


def extensions(group: str, taken: Collection[str] = ()) -> dict[str, EntryPoint]:
    """The entry points of `group` by name, sorted.

    Arguments:
        taken: samunet's own names, which no package may use.

    Raises:
        UserError: a name that two packages use, or that is samunet's own, names both; or a name with other characters
            than letters, digits and single underscores.
    """
    found: dict[str, EntryPoint] = {}
    for point in _points(group):
        if not _NAME.fullmatch(point.name):
            raise UserError(
                "The name of an extension must be letters, digits and single underscores.",
                where=f"entry points {group}",
                found=f"{point.name!r} of {package_of(point)}",
                mend="Uninstall that package, or have it renamed by its author.",
            )
        other = "samunet" if point.name in taken else package_of(found[point.name]) if point.name in found else None
        if other is not None:
            raise UserError(
                "The name of an extension must be used by one package alone.",
                where=f"entry points {group}",
                found=f"{point.name} of {other} and of {package_of(point)}",
                mend="Uninstall one of the packages.",
            )
        found[point.name] = point
    return found


def loaded(point: EntryPoint) -> Any:
    """Import what an entry point names.

    Raises:
        UserError: its package cannot be imported, or does not hold it.
    """
    try:
        return point.load()
    except Exception as fault:
        raise UserError(
            "An installed extension must be importable.",
            where=f"{point.name} = {point.value} of {package_of(point)}",
            found=f"{type(fault).__name__}: {fault}",
            mend="Repair or uninstall that package.",
        ) from fault


def package_of(point: EntryPoint) -> str:
    """Name and version of the package that has an entry point."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown package"


@cache
def _points(group: str) -> tuple[EntryPoint, ...]:
    from importlib.metadata import entry_points

    # A package that is found twice on the path, as an editable installation is, has equal entry points.
    distinct = {(point.name, point.value, package_of(point)): point for point in entry_points(group=group)}
    return tuple(distinct[key] for key in sorted(distinct))
