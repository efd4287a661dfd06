"""JSON from outside samunet, decoded into typed dataclasses: what is wrong is one message with file and field."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from samunet.errors import UserError

T = TypeVar("T")


SHOWN_FAULTS = 10


def decode(kind: type[T], content: Any, *, rule: str, where: str | Path, mend: str = "", finite: bool = True,
           exact: bool = False) -> T:
    """Turn what `read_json` returned into `kind`, checking every type, bound and length that its annotations state.

    Arguments:
        kind: a dataclass, TypedDict or builtin collection type; bounds are `Annotated[int, msgspec.Meta(ge=1)]`. Keys
            that a dataclass does not have are ignored; callers that own the format refuse them. Integers are accepted
            where floats are expected, nothing else is converted.
        rule: the rule that the file breaks, for the message.
        finite: whether NaN and infinity are refused wherever they are, also in what `kind` does not name.
        exact: whether keys that a dataclass does not have are refused.

    Raises:
        UserError: the content does not have that form, or holds NaN or infinity; names every wrong field of a dataclass
            or dict as a path, as in `$.encoders.mini-3.input_size`.
    """
    import msgspec

    if finite and (place := _not_finite(content, "$")):
        raise UserError(rule, where=where, found=f"a number that is not finite - at `{place}`", mend=mend)
    try:
        decoded = msgspec.convert(content, kind)
        faults = _faults(kind, content, "$", exact) if exact else []
    except msgspec.ValidationError:
        faults = _faults(kind, content, "$", exact)
    if faults:
        more = f"; and {len(faults) - SHOWN_FAULTS} more" if len(faults) > SHOWN_FAULTS else ""
        raise UserError(rule, where=where, found="; ".join(faults[:SHOWN_FAULTS]) + more, mend=mend)
    return decoded


def _faults(kind: Any, content: Any, place: str, exact: bool) -> list[str]:
    """Every fault of a dataclass, a dict or a list, since msgspec names the first alone; of another kind the first."""
    import msgspec

    if is_dataclass(kind) and isinstance(content, Mapping):
        hints = get_type_hints(kind, include_extras=True)
        found = [fault for each in fields(kind) if each.name in content
                for fault in _faults(hints[each.name], content[each.name], f"{place}.{each.name}", exact)]
        if exact:
            found += [f"unknown `{name}` - at `{place}`" for name in content if name not in hints]
        return found + [f"no `{each.name}` - at `{place}`" for each in fields(kind) if each.name not in content
                       and each.default is MISSING and each.default_factory is MISSING]
    if get_origin(kind) is dict and isinstance(content, Mapping):
        return [
            fault
            for key, value in content.items()
            for fault in _faults(get_args(kind)[1], value, f"{place}.{key}", exact)
        ]
    items = _items_of(kind)
    found = [fault for index, value in enumerate(content) for fault in _faults(items, value, f"{place}[{index}]", exact)
            ] if items is not None and isinstance(content, list) else []
    if found:
        return found
    try:
        msgspec.convert(content, kind)
    except msgspec.ValidationError as fault:
        reason, _, inner = str(fault).partition(" - at `$")
        return [f"{reason} - at `{place}{inner.removesuffix('`')}`, of {reprlib.repr(content)}"]
    return []


def _items_of(kind: Any) -> Any:
    """The type of the items where `kind` is a list type, with bounds or without; else None."""
    plain = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    return get_args(plain)[0] if get_origin(plain) is list else None


def _not_finite(content: Any, place: str) -> str | None:
    """The path of the first NaN or infinity, or None. JSON has neither, but Python's reader accepts both."""
    if isinstance(content, float):
        return None if math.isfinite(content) else place
    if isinstance(content, Mapping):
        items = ((f"{place}.{key}", value) for key, value in content.items())
    elif isinstance(content, Sequence) and not isinstance(content, str):
        items = ((f"{place}[{index}]", value) for index, value in enumerate(content))
    else:
        return None
    return next((found for where, value in items if (found := _not_finite(value, where))), None)
