"""Where else a run is logged: TensorBoard, wandb, loggers of installed packages; each is switched on by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from samunet.console import say
from samunet.errors import UserError
from samunet.extensions import LOGGERS, SHIPPED_LOGGERS, extensions, loaded
from samunet.files import make_folder


class Logger(Protocol):
    """What a logger does. It is made by a call with the run's folder (Path) when training begins, or continues."""

    def update_config(self, config: Mapping[str, Any]) -> None:
        """Take settings of the run, built-in types by name: the first call; later ones add what was measured."""
        ...

    def log(self, key: str, value: float, step: int) -> None:
        """Take a value of a line of the training log; `step` is the number of iterations that are finished."""
        ...

    def log_summary(self, values: Mapping[str, float]) -> None:
        """Take the scores of the run by name, none where nothing was validated: the last call, which closes files."""
        ...


Maker = Callable[[Path], Logger]


def makers_of(names: Sequence[str]) -> dict[str, Maker]:
    """What makes the loggers of these names, samunet's own and those of installed packages.

    Raises:
        UserError: no logger has such a name, or the package that it needs cannot be imported.
    """
    outside = extensions(LOGGERS, SHIPPED_LOGGERS)
    known = [*SHIPPED_LOGGERS, *outside]
    if unknown := [name for name in names if name not in known]:
        raise UserError("A logger must be one of samunet's own or of an installed package.", where="--logger",
                        found=", ".join(unknown), mend=f"Choose from: {', '.join(known)}.")
    return {name: _shipped(name) if name in SHIPPED_LOGGERS else loaded(outside[name]) for name in names}


def _shipped(name: str) -> Maker:
    module, _, of_class = SHIPPED_LOGGERS[name].partition(":")
    try:
        maker: Maker = getattr(import_module(module), of_class)
    except ImportError as fault:
        raise UserError(f"The logger {name} needs the package {name}.", where=f"--logger {name}",
                        found=f"it cannot be imported ({fault})",
                        mend=f"Install the extra: pip install 'samunet[{name}]'.") from fault
    return maker


class Loggers:
    """The loggers of one run. One that raises is reported, and gets nothing more; the training goes on."""

    def __init__(self, makers: Mapping[str, Maker] | None = None, folder: Path = Path()) -> None:
        self._makers, self._folder = dict(makers or {}), folder
        self._made: dict[str, Logger] = {}

    def begin(self, config: Mapping[str, Any]) -> None:
        """Make the loggers, and the run's folder for their files; give them the run's settings."""
        if self._makers:
            make_folder(self._folder)
        for name in self._makers:
            self._guarded(name, partial(self._make, name))
        self.update_config(config)

    def update_config(self, config: Mapping[str, Any]) -> None:
        """Pass on settings."""
        self._all(lambda logger: logger.update_config(config))

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Pass on the values of one line."""
        for key, value in values.items():
            self._all(partial(_log, key=key, value=value, step=step))

    def end(self, values: Mapping[str, float]) -> None:
        """Pass on the run's scores."""
        self._all(lambda logger: logger.log_summary(values))

    def _make(self, name: str) -> None:
        self._made[name] = self._makers[name](self._folder)

    def _all(self, call: Callable[[Logger], None]) -> None:
        for name, logger in list(self._made.items()):
            self._guarded(name, partial(call, logger))

    def _guarded(self, name: str, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as fault:  # noqa: BLE001 - a tracker that is down must not end hours of training
            say(f"logger {name} failed and gets nothing more: {type(fault).__name__}: {fault}")
            self._made.pop(name, None)


def _log(logger: Logger, key: str, value: float, step: int) -> None:
    logger.log(key, value, step)


def scores_of(summary: Mapping[str, Any] | None) -> dict[str, float]:
    """The scores of a summary.json by name: `Dice` over all classes, `Dice/<class key>` of each; of None, none."""
    if summary is None:
        return {}
    of_classes = {f"Dice/{key}": float(values["Dice"]) for key, values in summary["mean"].items()}
    return {"Dice": float(summary["foreground_mean"]["Dice"]), **of_classes}
