"""Sessions of cases, with a model or without: new ones begin with its result, begun ones go on from what was saved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from samunet.annotation.project import Project
from samunet.console import say
from samunet.interaction import session_file
from samunet.interaction.session import Session
from samunet.interaction.session_file import RecordedModel
from samunet.variants.registry import entry

if TYPE_CHECKING:
    from samunet.inference.model_folder import TrainedModel


@dataclass(frozen=True)
class Assistant:
    """What helps to annotate.

    Arguments:
        model: None: prompts are recorded, and masks are painted.
        device: PyTorch's name of the device of automatic results; None: the session's default.
    """

    model: TrainedModel | None
    device: str | None = None

    @property
    def answers_prompts(self) -> bool:
        """Whether clicks are answered; other models give each case its first mask."""
        return self.model is not None and bool(entry(self.model.variant).prompts)

    def session(self, project: Project, case: str) -> Session:
        """The session of `case` as it was saved, or a new one.

        A session that another model answered cannot be replayed by this one. It goes on from its mask, as a new
        session; its file stays until the first action. A finished case without a session begins with its label.

        Raises:
            UserError: an image that cannot be read, or another one than the session's; a session that is damaged.
        """
        path, files = project.session_file(case), project.source.files(case)
        if path.is_file():
            record = session_file.read(path)
            if record.is_of(self._recorded()):
                return Session.load(path, self.model if self.answers_prompts else None, image=files,
                                    device=self.device)
            say(f"{case}: the session goes on from its mask, because another model answered its prompts.")
            return self._from_mask(project, files, path.parent / record.recorded_mask.file)
        if project.is_finished(case):
            return self._from_mask(project, files, project.label_file(case))
        session = self._new(project, files)
        if self.model is not None and not self.answers_prompts:
            session.start_from(self.model.folder)
        return session

    def _recorded(self) -> RecordedModel | None:
        """What files of sessions say of the model; None where none answers prompts."""
        if self.model is None or not self.answers_prompts:
            return None
        from samunet.interaction.model import SessionModel

        return SessionModel(self.model).recorded

    def _from_mask(self, project: Project, files: tuple[Path, ...], mask: Path) -> Session:
        session = self._new(project, files)
        session.set_mask(mask)
        return session

    def _new(self, project: Project, files: tuple[Path, ...]) -> Session:
        values = {name: value for name, value in project.labels.names.items() if isinstance(value, int) and value}
        session = (Session(self.model, device=self.device) if self.answers_prompts
                   else Session(labels=values, device=self.device))
        session.set_image(files)
        return session
