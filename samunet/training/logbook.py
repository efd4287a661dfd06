"""The training log: one JSON line an epoch, and the plot of its curves."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from samunet.errors import UserError
from samunet.files import read_json_lines, whole_file, write_text, writing
from samunet.schema import decode
from samunet.training.loggers import Loggers

SECONDS_BETWEEN_PICTURES = 30.0


@dataclass(frozen=True)
class Entry:
    """One line: iterations finished, mean loss since the line before, learning rate of the last step, seconds taken.

    `pseudo_dice` is of windows of validation cases (`pseudo_dice.PseudoDice`), None where there is none.
    """

    iteration: Annotated[int, Meta(ge=1)]
    loss: float
    learning_rate: float
    seconds: float
    pseudo_dice: float | None = None


class Logbook:
    """`log.jsonl` and `progress.png` in a run's folder. A run that goes on first drops what its checkpoint never saw.

    `loggers` get the values of each line that is added.
    """

    def __init__(self, folder: Path, finished_iterations: int, loggers: Loggers | None = None) -> None:
        self._loggers = loggers or Loggers()
        self.path, self.picture = folder / "log.jsonl", folder / "progress.png"
        self.entries = [entry for entry in read_log(self.path) if entry.iteration <= finished_iterations]
        write_text(self.path, "".join(_line(entry) for entry in self.entries))
        self._drawn = time.monotonic()

    def add(self, entry: Entry) -> None:
        """Append a line; plot the curves again now and then."""
        self.entries.append(entry)
        with writing(self.path), open(self.path, "a", encoding="utf-8", newline="\n") as stream:
            stream.write(_line(entry))
        values = _values(entry)
        self._loggers.log(values, values.pop("iteration"))
        if time.monotonic() - self._drawn > SECONDS_BETWEEN_PICTURES:
            self.draw()

    def draw(self) -> None:
        """Write progress.png, over iterations: loss, learning rate, seconds per iteration, pseudo-Dice if any."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        iterations = [entry.iteration for entry in self.entries]
        steps = [later - earlier for earlier, later in zip([0, *iterations], iterations, strict=False)]
        curves = {
            "loss": [entry.loss for entry in self.entries],
            "learning rate": [entry.learning_rate for entry in self.entries],
            "seconds per iteration": [entry.seconds / step for entry, step in zip(self.entries, steps, strict=True)],
        }
        if any(entry.pseudo_dice is not None for entry in self.entries):
            curves["validation pseudo-Dice"] = [math.nan if entry.pseudo_dice is None else entry.pseudo_dice
                                                for entry in self.entries]
        figure = Figure(figsize=(8, 3 * len(curves)), layout="constrained")
        FigureCanvasAgg(figure)
        for axes, (name, values) in zip(figure.subplots(len(curves), 1, sharex=True), curves.items(), strict=True):
            axes.plot(iterations, values, marker=".")
            axes.set_ylabel(name)
            axes.grid(alpha=0.3)
        axes.set_xlabel("iteration")
        with whole_file(self.picture) as temporary:
            figure.savefig(temporary, dpi=100)
        self._drawn = time.monotonic()


def _line(entry: Entry) -> str:
    return json.dumps(_values(entry)) + "\n"


def _values(entry: Entry) -> dict[str, Any]:
    return {name: value for name, value in asdict(entry).items() if value is not None}


def read_log(path: Path) -> list[Entry]:
    """The lines up to the first that cannot be read. A log decides nothing."""
    entries: list[Entry] = []
    for line in read_json_lines(path):
        try:
            entries.append(decode(Entry, line, rule="A line of a log must be an entry.", where=path, finite=False))
        except UserError:
            break
    return entries
