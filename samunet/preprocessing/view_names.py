"""Views by name: which view of which case a name on disk means."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TRANSPORTED = 100  # is added to the number of a transported view, in names, random keys and digests
_VIEW = re.compile(r"(?P<case>.*)__view(?P<key>\d+)(?:_(?P<digest>[0-9a-f]{8}))?", re.DOTALL)


@dataclass(frozen=True)
class View:
    """An augmented copy of a case.

    Arguments:
        number: from 1.
        transported: whether the case first takes a shape between its own and another case's.
    """

    number: int
    transported: bool = False

    @property
    def key(self) -> int:
        """What represents the view in names on disk, random keys and digests."""
        return self.number + (_TRANSPORTED if self.transported else 0)

    @classmethod
    def of_key(cls, key: int) -> View:
        """The view whose `key` this is."""
        return cls(key - _TRANSPORTED, transported=True) if key > _TRANSPORTED else cls(key)


def view_name(case: str, view: View, image_digest: str | None = None) -> str:
    """Name under which a view of a case is cached: `<case>__view3`, of a transported one `<case>__view103_ab12cd34`.

    Arguments:
        image_digest: of a view that case and number do not determine, since other cases have a part in it. The name
            holds its first digits, so that each run finds its own views, and those of runs that share these cases.
    """
    return f"{case}__view{view.key}" + (f"_{image_digest[:8]}" if image_digest else "")


def case_and_view(name: str) -> tuple[str, View | None]:
    """The case and the view under whose name something is cached; None for the case itself."""
    found = _VIEW.fullmatch(name)
    return (found["case"], View.of_key(int(found["key"]))) if found else (name, None)


def digest_in_name(name: str) -> str | None:
    """The first digits of a view's image digest, where its name holds them."""
    found = _VIEW.fullmatch(name)
    return found["digest"] if found else None
