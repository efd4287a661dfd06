"""All cases of a project: which are done, and the few that are open, each with its session."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import count
from threading import Lock
from typing import Any

from samunet.annotation.assistant import Assistant
from samunet.annotation.opened import OpenCase
from samunet.annotation.project import Project
from samunet.annotation.requests import Action
from samunet.errors import UserError

MOST_OPEN = 3  # in memory; the others are on disk


class Cases:
    """The cases in the order of annotation.

    Arguments:
        order: names of cases. assistant: begins and loads their sessions, with a model or without.
    """

    def __init__(self, project: Project, order: Sequence[str], assistant: Assistant) -> None:
        self.project, self.order, self._assistant = project, tuple(order), assistant
        self._open: OrderedDict[str, OpenCase] = OrderedDict()
        self._locks = {case: Lock() for case in order}
        self._lock = Lock()  # of `_open`
        self._versions = count(1)

    def opened(self, case: str) -> OpenCase:
        """The open case of this name, to read; it is opened first if it is not.

        Raises:
            UserError: no such case; an image or a session that cannot be read.
        """
        lock = self._lock_of(case)
        if found := self._found(case):
            return found
        with lock:
            return self._found(case) or self._opened_now(case)

    def act(self, case: str, action: Action, version: int) -> dict[str, Any]:
        """See `OpenCase.act`. One action at a time: a case that is closed meanwhile is opened again after it.

        Raises:
            UserError: see `opened` and `OpenCase.act`.
        """
        with self._lock_of(case):
            return (self._found(case) or self._opened_now(case)).act(action, version)

    def finished_count(self) -> int:
        """How many cases are finished."""
        return sum(self.project.is_finished(case) for case in self.order)

    def to_json(self) -> dict[str, Any]:
        """Every case with what is done, and the classes: name, and value in the mask."""
        labels = self.project.labels
        values = labels.regions_class_order if labels.has_regions else labels.foreground
        return {"cases": [{"name": case, "begun": self.project.is_begun(case),
                           "finished": self.project.is_finished(case)} for case in self.order],
                "classes": [{"name": labels.name_of(label), "value": value}
                            for label, value in zip(labels.foreground, values or (), strict=True)]}

    def _lock_of(self, case: str) -> Lock:
        if case not in self._locks:
            raise UserError("A case must be one of the folder of images.", where="request", found=repr(case[:200]),
                            mend="Choose one from the page's list.")
        return self._locks[case]

    def _found(self, case: str) -> OpenCase | None:
        with self._lock:
            found = self._open.get(case)
            if found is None or found.unsaved:
                return None
            self._open.move_to_end(case)
            return found

    def _opened_now(self, case: str) -> OpenCase:
        opened = OpenCase(self.project, case, self._assistant.session(self.project, case), self._versions)
        with self._lock:
            self._open[case] = opened
            self._open.move_to_end(case)
            while len(self._open) > MOST_OPEN:
                self._open.popitem(last=False)
        return opened
