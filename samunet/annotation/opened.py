"""One open case: its session, what the page displays of it, and how each action is saved before it is answered."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock
from typing import Any

import numpy as np

from samunet.annotation.planes import Display, display_of
from samunet.annotation.project import Project
from samunet.annotation.prompts_json import prompts_content
from samunet.annotation.requests import Action, Box, Finish, Point, Redo, Stroke, Undo, Voxel
from samunet.errors import UserError
from samunet.files import write_json
from samunet.interaction import actions as recorded
from samunet.interaction.session import Session


class OpenCase:
    """A case with its session.

    `act` changes it, one action at a time; everything else reads the state that `act` left, at any time.

    Arguments:
        session: with its image. versions: numbers of states, each once while the server runs.
    """

    def __init__(self, project: Project, case: str, session: Session, versions: Iterator[int]) -> None:
        self.project, self.case, self.session = project, case, session
        self.display: Display = display_of(session.image.voxels, session.image.geometry)
        self.unsaved = False  # after a failed save; the case must be opened again
        self._versions, self._lock = versions, Lock()
        self._mask, self._state = session.mask, self._current()

    def state(self) -> dict[str, Any]:
        """The state for the page: version, prompts on the display grid, whether undo and redo would do anything."""
        return self._state

    def mask(self) -> np.ndarray:
        """Label values in the axes of the image's array."""
        return self._mask

    def act(self, action: Action, version: int) -> dict[str, Any]:
        """Do `action`, save, and return the new state.

        Undo and redo of a page that does not show the present state (a second tab has acted) do nothing: they would
        take back what the person has not seen. The state is then returned with `refreshed` True.

        Raises:
            UserError: an action that the session refuses, which changes nothing; or a folder that cannot be written.
        """
        with self._lock:
            if isinstance(action, Undo | Redo) and version != self._state["version"]:
                return {**self._state, "refreshed": True}
            finished = action.finished if isinstance(action, Finish) else self.project.is_finished(self.case)
            self._apply(action)
            self.unsaved = True
            self._save(finished)
            self.unsaved = False
            self._mask, self._state = self.session.mask, self._current()
            return self._state

    def _apply(self, action: Action) -> None:
        session = self.session
        if isinstance(action, Point):
            session.add_point(self._index(action.place), action.label, action.positive)
        elif isinstance(action, Box):
            corners = np.array([self._index(action.first), self._index(action.last)])
            session.add_box(corners.min(0).tolist(), corners.max(0).tolist(), action.label)
        elif isinstance(action, Stroke):
            places = [self._index(place) for place in action.places]
            session.paint(places, 0 if action.label is None else action.label, action.radius_mm,
                          self.display.array_axis(action.plane))
        elif isinstance(action, Undo):
            session.undo()
        elif isinstance(action, Redo):
            session.redo()

    def _save(self, finished: bool) -> None:
        """The session first: it is the truth that all other files are written from."""
        self.session.save(self.project.session_file(self.case))
        geometry = self.session.image.geometry
        write_json(self.project.prompts_file(self.case), prompts_content(self.case, self.session.actions, geometry))
        if finished:
            self.project.finish(self.case, self.session.mask, geometry)
        elif self.project.is_finished(self.case):
            self.project.reopen(self.case)

    def _index(self, place: Voxel) -> tuple[int, int, int]:
        """Index in the image's array of a voxel of the display grid.

        Raises:
            UserError: it is outside.
        """
        if any(index >= size for index, size in zip(place, self.display.shape, strict=True)):
            raise UserError("A place must be inside the image.", where=f"case {self.case}",
                            found=f"voxel {list(place)} of {' x '.join(map(str, self.display.shape))}",
                            mend="Click on the image.")
        return self.display.to_array(place)

    def _current(self) -> dict[str, Any]:
        done = self.session.actions
        return {
            "version": next(self._versions),
            "undo": bool(done),
            "redo": self.session.can_redo,
            "points": [{"place": self._shown(action.place), "label": action.label, "positive": action.positive}
                       for action in done if isinstance(action, recorded.Point)],
            "boxes": [self._box(action) for action in done if isinstance(action, recorded.Box)],
        }

    def _shown(self, place: tuple[float, float, float]) -> tuple[int, int, int]:
        first, second, third = (int(np.floor(index + 0.5)) for index in place)
        return self.display.from_array((first, second, third))

    def _box(self, box: recorded.Box) -> dict[str, Any]:
        corners = np.array([self._shown(box.low), self._shown(box.high)])
        return {"first": corners.min(0).tolist(), "last": corners.max(0).tolist(), "label": box.label}
