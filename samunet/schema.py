"""JSON from outside samunet, decoded into typed dataclasses: a wrong type, range or shape is one message with file and field."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from samunet.errors import UserError

T = TypeVar("T")


def decode(kind: type[T], content: Any, *, rule: str, where: str | Path, mend: str = "") -> T:
    """Turn what `read_json` returned into `kind`, checking every type, bound and length that its annotations state.

    Arguments:
        kind: a dataclass, TypedDict or builtin collection type; bounds are `Annotated[int, msgspec.Meta(ge=1)]`. Keys that a dataclass does not have are ignored;
            callers that own the format refuse them. Integers are accepted where floats are expected, nothing else is converted.
        rule: the rule that the file breaks, for the message.

    Raises:
        UserError: the content does not have that form, or holds NaN or infinity; names the field as a path, as in
            `$.encoders.mini-3.input_size`.
    """
    import msgspec

    if place := _not_finite(content, "$"):
        raise UserError(rule, where=where, found=f"a number that is not finite - at `{place}`", mend=mend)
    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as fault:
        raise UserError(rule, where=where, found=str(fault), mend=mend) from fault


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
