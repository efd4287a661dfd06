"""The report's charts, as SVG elements embedded in the page."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from samunet.benchmark.comparison import summarise
from samunet.benchmark.results import Result, shots_text

INCHES = (7.0, 4.2)
PALETTE = "tab20"

Groups = Mapping[str, str] | None


def label_efficiency(results: Sequence[Result], groups: Groups) -> str | None:
    """Mean Dice over the number of labelled cases, with intervals; None if there is only one number of shots."""
    shots = sorted({result.shots for result in results if result.cases}, key=lambda count: (count is None, count))
    if len(shots) < 2:
        return None
    figure, axes = _figure("labelled cases", "Dice")
    for method, colour in _colours(results).items():
        points = [(shots.index(result.shots), found.interval) for result in results
                  if result.method == method and (found := summarise(result, "Dice", groups))]
        if not points:
            continue
        places, intervals = [place for place, _ in points], [interval for _, interval in points]
        means = np.array([interval.mean for interval in intervals])
        errors = [means - [interval.low for interval in intervals], [interval.high for interval in intervals] - means]
        axes.errorbar(places, means, np.maximum(errors, 0), marker="o", capsize=3, color=colour, label=method)
    axes.set_xticks(range(len(shots)), [shots_text(count, results[0].slices) for count in shots])
    return _svg(figure, axes)


def dice_over_time(results: Sequence[Result], groups: Groups) -> str:
    """Mean Dice over the training time in seconds; one point for each result, labelled with its number of cases.

    Imported models are left out because their training time is unknown.
    """
    figure, axes = _figure("training seconds, embeddings and pretraining included", "Dice")
    for method, colour in _colours(results).items():
        for result in results:
            if result.method == method and result.runs and (found := summarise(result, "Dice", groups)):
                seconds = np.mean([sum(value for part, value in run["seconds"].items() if part != "validation")
                                   for run in result.runs.values()])
                place = max(float(seconds), 1.0), found.interval.mean
                axes.scatter(*place, color=colour, label=method)
                axes.annotate(result.labelled, place, xytext=(4, 4), textcoords="offset points", fontsize=7)
    axes.set_xscale("log")
    return _svg(figure, axes)


def boxes(results: Sequence[Result], label: str) -> str:
    """Dice of every case and draw for one class; one box for each result."""
    shown = [result for result in results if result.cases]
    figure, axes = _figure("", f"Dice of class {label}")
    colours = _colours(results)
    values = [[value for draw in result.cases for value in result.scores(draw, "Dice", label).values()
               if not np.isnan(value)]
              for result in shown]
    artists = axes.boxplot(values, patch_artist=True, medianprops={"color": "black"}, flierprops={"markersize": 3})
    for box, result in zip(artists["boxes"], shown, strict=True):
        box.set_facecolor(colours[result.method])
    axes.set_xticks(range(1, len(shown) + 1), [f"{result.method}\n{result.labelled}" for result in shown], rotation=60,
                    ha="right", fontsize=7)
    return _svg(figure, axes, legend=False)


def paired(result: Result, reference: Result) -> str:
    """Each case's Dice against the reference's; one point for each draw that both have."""
    figure, axes = _figure(f"Dice of {reference.method}", f"Dice of {result.method}")
    for draw in sorted(result.cases.keys() & reference.cases.keys()):
        ours, theirs = result.scores(draw, "Dice"), reference.scores(draw, "Dice")
        both = sorted(ours.keys() & theirs.keys())
        axes.scatter([theirs[case] for case in both], [ours[case] for case in both], 14, label=f"draw {draw}")
    axes.axline((0, 0), slope=1, color="grey", linewidth=0.8)
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    return _svg(figure, axes)


def training_curves(curves: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Loss over the fraction of training; one line for each method.

    Arguments:
        curves: method -> the lines of a run's log.jsonl.
    """
    figure, axes = _figure("fraction of the iterations", "loss")
    palette = matplotlib.colormaps[PALETTE]
    for index, (method, lines) in enumerate(curves.items()):
        last = lines[-1]["iteration"]
        axes.plot([line["iteration"] / last for line in lines], [line["loss"] for line in lines], marker=".",
                  color=palette(index % palette.N), label=method)
    return _svg(figure, axes)


def _colours(results: Sequence[Result]) -> dict[str, tuple[float, ...]]:
    palette = matplotlib.colormaps[PALETTE]
    return {method: palette(index % palette.N)
            for index, method in enumerate(dict.fromkeys(each.method for each in results))}


def _figure(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=INCHES, layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    return figure, axes


def _svg(figure: Figure, axes: Axes, *, legend: bool = True) -> str:
    """The figure as an <svg> element that scales with the page; the same figure gives the same text."""
    if legend:
        handles, names = axes.get_legend_handles_labels()
        once = dict(zip(names, handles, strict=True))
        axes.legend(once.values(), once.keys(), fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "samunet", "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    # Without a width and height it scales with the page; viewBox preserves its proportions.
    return re.sub(r' (width|height)="[^"]*pt"', "", svg[svg.index("<svg") :], count=2)
