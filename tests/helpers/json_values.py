"""Hypothesis strategies: JSON of any shape, and sound JSON with one part replaced, removed or added."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

# The same examples on every machine, however slow it is.
REPEATED = settings(deadline=None, derandomize=True, database=None, max_examples=150,
                    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

NUMBERS = (st.integers() | st.integers(10**20, 10**40) | st.floats(allow_nan=True, allow_infinity=True)
           | st.sampled_from([0, -1, 1, 0.5, 1e300, -1e300, 10**400]))
VALUES = st.recursive(st.none() | st.booleans() | NUMBERS | st.text(max_size=8),
                      lambda inner: st.lists(inner, max_size=4)
                      | st.dictionaries(st.text(max_size=4) | st.sampled_from(["0", "1", "background", "A"]), inner,
                                        max_size=4), max_leaves=8)


@st.composite
def changed(draw: st.DrawFn, sound: Any) -> Any:
    """A copy of `sound` in which up to two values, anywhere, are replaced by any others, removed, or joined by a new
    key.
    """
    content = copy.deepcopy(sound)
    for _ in range(draw(st.integers(1, 2))):
        holder = content
        while isinstance(holder, dict | list) and holder:
            key = draw(st.sampled_from(list(holder) if isinstance(holder, dict) else list(range(len(holder)))))
            inner = holder[key]
            if not (isinstance(inner, dict | list) and inner) or draw(st.booleans()):
                _change(draw, holder, key)
                break
            holder = inner
    return content


def _change(draw: st.DrawFn, holder: Any, key: Any) -> None:
    action = draw(st.sampled_from(["replace", "replace", "replace", "remove", "add"]))
    if action == "remove":
        del holder[key]
    elif action == "add" and isinstance(holder, dict):
        holder[draw(st.text(max_size=6))] = draw(VALUES)
    else:
        holder[key] = draw(VALUES)
