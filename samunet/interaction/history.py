"""Unlimited undo and redo: the actions, a cursor, and the mask after each action by replay or by what it changed."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from samunet.interaction.actions import COMPRESSION, Action
from samunet.interaction.painting import Region
from samunet.variants.mask_parts import bounding_region

Apply = Callable[[Sequence[Action], np.ndarray], np.ndarray]
"""(actions done, mask before the last of them) -> mask after it, a new array."""


@dataclass(frozen=True)
class Change:
    """What an action changed: applied to the mask before it gives the mask after it, and the other way round."""

    region: Region | None
    flips: bytes = b""  # exclusive or of the values before and after, compressed

    @classmethod
    def between(cls, before: np.ndarray, after: np.ndarray) -> Self:
        """The change from one mask to another of its shape and type."""
        region = bounding_region(before != after)
        if region is None:
            return cls(None)
        return cls(region, zlib.compress(np.bitwise_xor(before[region], after[region]).tobytes(), COMPRESSION))

    def applied(self, mask: np.ndarray) -> np.ndarray:
        """A changed copy of `mask`."""
        changed = mask.copy()
        if self.region is not None:
            part = changed[self.region]
            part ^= np.frombuffer(zlib.decompress(self.flips), mask.dtype).reshape(part.shape)
        return changed


class History:
    """A mask, and how it came to be.

    The state is the actions and a cursor: the mask is what the first `cursor` actions give, applied in order to the
    empty mask. What each action changed is stored compressed, so that undo and redo compute nothing; where that is
    not known, as in a session that was loaded, the actions are applied again, with the same result.

    Arguments:
        apply: see `Apply`; deterministic, for actions applied one after the other.
        empty: the mask before all actions.
    """

    def __init__(self, apply: Apply, empty: np.ndarray) -> None:
        self._apply, self._empty = apply, empty
        self._changes: list[Change | None] = []
        self.actions: list[Action] = []
        self.cursor = 0
        self.mask = empty
        self.last_region: Region | None = None
        self._to_recall = False

    @property
    def done(self) -> Sequence[Action]:
        """The actions that the mask comes from."""
        return self.actions[: self.cursor]

    def push(self, action: Action) -> None:
        """Apply `action` after those done; undone ones are dropped. Changes nothing if `apply` raises."""
        self._recall()
        after = self._apply([*self.done, action], self.mask)
        del self.actions[self.cursor :], self._changes[self.cursor :]
        self.actions.append(action)
        self._changes.append(Change.between(self.mask, after))
        self.cursor += 1
        self._take(self._changes[-1], after)

    def undo(self) -> bool:
        """Go back before the last action done; whether there was one."""
        if self.cursor == 0:
            return False
        change = self._changes[self.cursor - 1]
        before = self._replayed(self.cursor - 1) if change is None else change.applied(self.mask)
        self._to_recall &= change is not None  # they have been applied now
        self.cursor -= 1
        self._changes[self.cursor] = change = change or Change.between(before, self.mask)
        self._take(change, before)
        return True

    def redo(self) -> bool:
        """Apply the action that was undone last again; whether there was one."""
        if self.cursor == len(self.actions):
            return False
        change = self._changes[self.cursor]
        if change is None:
            self._recall()
        after = self._apply(self.actions[: self.cursor + 1], self.mask) if change is None else change.applied(self.mask)
        self._changes[self.cursor] = change = change or Change.between(self.mask, after)
        self.cursor += 1
        self._take(change, after)
        return True

    def restore(
        self, actions: Sequence[Action], cursor: int, mask: np.ndarray | None, *, recalls: bool = False
    ) -> None:
        """Take a recorded state.

        Arguments:
            mask: what the first `cursor` actions give, where it is known; None: they are applied.
            recalls: whether `apply` goes on from what it gave for the actions before; they are then applied once before
                the next one, and the mask stays as recorded.
        """
        self.actions, self._changes = list(actions), [None] * len(actions)
        self.cursor, self.last_region = cursor, None
        self.mask = self._replayed(cursor) if mask is None else mask
        self._to_recall = recalls and mask is not None and cursor > 0

    def _recall(self) -> None:
        """Apply the actions done of a restored state, for `apply` alone."""
        if self._to_recall:
            before = self._replayed(self.cursor - 1)
            self._apply(self.done, before)
            self._changes[self.cursor - 1] = Change.between(before, self.mask)
            self._to_recall = False

    def _replayed(self, count: int) -> np.ndarray:
        """The mask after `count` actions, applied one after the other; what they change is stored."""
        mask = self._empty
        for index in range(count):
            change = self._changes[index]
            after = self._apply(self.actions[: index + 1], mask) if change is None else change.applied(mask)
            self._changes[index] = change or Change.between(mask, after)
            mask = after
        return mask

    def _take(self, change: Change | None, mask: np.ndarray) -> None:
        self.last_region, self.mask = change.region if change else None, mask
