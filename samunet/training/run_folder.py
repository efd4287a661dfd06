"""The folder of one run: worked on as fold_F.unfinished, renamed to fold_F when whole, never half replaced."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from samunet.console import say
from samunet.errors import UserError
from samunet.files import make_folder, write_json, writing
from samunet.inference.run_file import RunRecord, read_run
from samunet.locks import lock_beside, owned
from samunet.training.settings import Settings, settings_text
from samunet.variants.registry import variant_class

RUN_FILE = "run.json"


@dataclass(frozen=True)
class _Tokens:
    rule: str


@dataclass(frozen=True)
class TrainingRecord(RunRecord):
    """What training reads of a run that goes on, is validated again or gets more support."""

    settings: Settings
    train_cases: list[str]
    val_cases: list[str]
    seconds: dict[str, float]
    support: dict[str, list[int]] | None = None
    added_support: dict[str, list[int]] | None = None
    tokens: _Tokens | None = None


class Start(Enum):
    """What a call of `samunet_train` has to do."""

    ANEW = "anew"
    CONTINUE = "continue"
    NOTHING = "nothing"


@dataclass(frozen=True)
class RunFolder:
    """`parent` is the model folder (or its `draw_folder`), `fold` a number or `all`."""

    parent: Path
    fold: str

    @property
    def final(self) -> Path:
        """Where the run is when it is finished."""
        return self.parent / f"fold_{self.fold}"

    @property
    def work(self) -> Path:
        """Where the run is until then."""
        return self.parent / f"fold_{self.fold}.unfinished"

    @property
    def _replaced(self) -> Path:
        return self.parent / f"fold_{self.fold}.replaced"

    @contextmanager
    def owned(self, *, wait: bool = False) -> Iterator[None]:
        """Own the run's folders within the block, finished and unfinished; no other process works in them meanwhile.

        Arguments:
            wait: for another owner to end, instead of refusing.

        Raises:
            UserError: another process owns them.
        """
        with owned(lock_beside(self.final), self.final, wait=wait):
            yield

    def require_run(self) -> None:
        """What `--c` needs.

        Raises:
            UserError: there is no run to continue.
        """
        if stored_run(self.work) is None and stored_run(self.final) is None:
            raise UserError("--c needs a run to continue.", where=self.final, found="no run, finished or not",
                            mend="Leave --c out to train.")

    def start(self, settings: Settings, must_continue: bool) -> Start:
        """Compare settings with the run that is here; clear the work folder where training starts from the beginning.

        Arguments:
            must_continue: `--c` was given.

        Raises:
            UserError: with `must_continue`, there is nothing to continue or its settings differ; without, a run with
                other settings of the variant is here.
        """
        if must_continue:
            self.require_run()
        self._recover()
        unfinished, finished = stored_run(self.work), stored_run(self.final)
        if not must_continue:
            self._require_same_variant(settings, [(self.work, unfinished), (self.final, finished)])
        if unfinished is not None:
            differing = settings.differences(unfinished["settings"])
            if not differing:
                return Start.CONTINUE
            if must_continue:
                raise _refused(self.work, differing)
        elif must_continue and finished is not None:
            differing = settings.differences(finished["settings"])
            if not differing:
                return Start.NOTHING
            raise _refused(self.final, differing)
        elif finished is not None and not settings.differences(finished["settings"]):
            say(f"{self.final} is finished with the same settings, and is trained again; --c leaves it as it is")
        shutil.rmtree(self.work, ignore_errors=True)
        return Start.ANEW

    def _require_same_variant(self, settings: Settings, runs: Sequence[tuple[Path, dict[str, Any] | None]]) -> None:
        """A folder is named after the variant, not its settings, so a run of others must not take its place without a
        word.
        """
        for place, run in runs:
            there = run["settings"].get("changed_settings") if run else settings.changed_settings
            if there != settings.changed_settings:
                raise UserError("A run's folder holds one set of its variant's settings.", where=place,
                                found=f"{settings_text(there)} there, {settings_text(settings.changed_settings)} here",
                                mend="Give another folder with --results, or remove that run.")

    def write(self, run: dict[str, Any]) -> None:
        """Write run.json into the work folder."""
        write_json(make_folder(self.work) / RUN_FILE, run)

    def finish(self) -> None:
        """Put the work folder in the place of the final one."""
        with writing(self.final):
            if self.final.exists():
                shutil.rmtree(self._replaced, ignore_errors=True)
                self.final.rename(self._replaced)
            self.work.rename(self.final)
        shutil.rmtree(self._replaced, ignore_errors=True)

    def replace_validation(self, anew: Path) -> None:
        """Replace the finished run's validation by the folder `anew`."""
        with writing(self.final / "validation"):
            shutil.rmtree(self.final / "validation", ignore_errors=True)
            anew.rename(self.final / "validation")

    def _recover(self) -> None:
        """Finish what a killed process left between the steps of `finish`."""
        run = stored_run(self.work)
        if run is not None and run["finished"] is not None:
            self.finish()
        shutil.rmtree(self._replaced, ignore_errors=True)


def stored_run(folder: Path) -> dict[str, Any] | None:
    """A run folder's run.json, or None.

    Raises:
        UserError: it is no record of a training run.
    """
    return read_run(folder / RUN_FILE, TrainingRecord) if (folder / RUN_FILE).is_file() else None


def changed_settings_of(run: Mapping[str, Any]) -> dict[str, Any] | None:
    """The settings of a run that are not today's defaults, as run.json has them: None for none.

    What older runs did not record is as they were trained.
    """
    recorded = run["settings"].get("variant_settings") or {}
    earlier = variant_class(run["variant"]).settings_type.earlier
    missing = {name: value for name, value in earlier.items() if name not in recorded}
    return missing | (run["settings"].get("changed_settings") or {}) or None


def _refused(folder: Path, differing: list[str]) -> UserError:
    return UserError("--c continues only a run of the same settings.", where=folder, found="; ".join(differing),
                     mend="Give the flags of that run, or leave --c out to train again.")
