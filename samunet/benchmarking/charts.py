"""The report's charts, as SVG elements embedded in the page. A chart that would show a single dot is None."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from samunet.benchmarking.comparison import summarise
from samunet.benchmarking.marks import marks
from samunet.benchmarking.results import Result, shots_text

WIDE, SMALL = (7.0, 4.2), (4.6, 3.6)  # inches: alone in the page's width, and beside others
POINTS = 10  # of text; the page shows a chart at about its own size or larger

Groups = Mapping[str, str] | None


def label_efficiency(results: Sequence[Result], groups: Groups) -> str | None:
    """Mean Dice over the number of labelled cases, with intervals; None if there is only one number of shots."""
    shots = sorted({result.shots for result in results if result.cases}, key=lambda count: (count is None, count))
    if len(shots) < 2:
        return None
    figure, axes = _figure("labelled cases", "Dice")
    styles = marks(each.method for each in results)
    for number, (method, mark) in enumerate(styles.items()):
        points = [(shots.index(result.shots), found.interval) for result in results
                  if result.method == method and (found := summarise(result, "Dice", groups))]
        if not points:
            continue
        # Beside each other, since intervals at one place would hide each other.
        places = np.array([place for place, _ in points]) + 0.3 * (number - (len(styles) - 1) / 2) / len(styles)
        intervals = [interval for _, interval in points]
        means = np.array([interval.mean for interval in intervals])
        errors = [means - [interval.low for interval in intervals], [interval.high for interval in intervals] - means]
        axes.errorbar(places, means, np.maximum(errors, 0), marker=mark.shape, linestyle=mark.dash, capsize=3,
                      color=mark.colour, label=method)
    axes.set_xticks(range(len(shots)), [shots_text(count, results[0].slices) for count in shots])
    return _svg(figure, axes)


def dice_over_time(results: Sequence[Result], groups: Groups) -> str | None:
    """Mean Dice over the training time in seconds; one point for each result, labelled with its number of cases.

    Imported models are left out because their training time is unknown.
    """
    figure, axes = _figure("training seconds, embeddings and pretraining included", "Dice")
    count = 0
    for method, mark in marks(each.method for each in results).items():
        for result in results:
            if result.method == method and result.runs and (found := summarise(result, "Dice", groups)):
                seconds = np.mean([sum(value for part, value in run["seconds"].items() if part != "validation")
                                   for run in result.runs.values()])
                place = max(float(seconds), 1.0), found.interval.mean
                axes.scatter(*place, 50, color=mark.colour, marker=mark.shape, label=method)
                axes.annotate(result.labelled, place, xytext=(6, 4), textcoords="offset points", fontsize=POINTS)
                count += 1
    axes.set_xscale("log")
    return _svg(figure, axes) if count > 1 else None


def boxes(results: Sequence[Result], label: str, name: str) -> str | None:
    """Dice of every case and draw for class key `label`; one box for each result, the first on top."""
    shown = [(result, values) for result in results
             if len(values := [value for draw in result.cases for value in result.scores(draw, "Dice", label).values()
                               if not np.isnan(value)]) > 1]
    if not shown:
        return None
    figure, axes = _figure(f"Dice of {name}", "", (WIDE[0], 1.0 + 0.36 * len(shown)))
    styles = marks(each.method for each in results)
    artists = axes.boxplot([values for _, values in shown], orientation="horizontal", widths=0.6, patch_artist=True,
                           medianprops={"color": "black", "linewidth": 2}, flierprops={"markersize": 4})
    for box, (result, _) in zip(artists["boxes"], shown, strict=True):
        box.set(facecolor=styles[result.method].colour, alpha=0.6)
    axes.set_yticks(range(1, len(shown) + 1), [f"{result.method}, {result.labelled}" for result, _ in shown])
    axes.invert_yaxis()
    return _svg(figure, axes, legend=False)


def paired(result: Result, reference: Result) -> str | None:
    """Each case's Dice against the reference's; one point for each draw that both have."""
    figure, axes = _figure(f"Dice of {reference.method}", f"Dice of {result.method}", SMALL)
    draws = sorted(result.cases.keys() & reference.cases.keys())
    every: list[float] = []
    for draw, mark in marks(map(str, draws)).items():
        ours, theirs = result.scores(int(draw), "Dice"), reference.scores(int(draw), "Dice")
        both = sorted(case for case in ours.keys() & theirs.keys() if not np.isnan([ours[case], theirs[case]]).any())
        axes.scatter([theirs[case] for case in both], [ours[case] for case in both], 24, color=mark.colour,
                     marker=mark.shape, alpha=0.7, label=f"draw {draw}")
        every += [value for case in both for value in (ours[case], theirs[case])]
    if len(every) <= 2:
        return None
    low, high = max(min(every) - 0.03, -0.02), min(max(every) + 0.03, 1.02)
    axes.axline((0, 0), slope=1, color="grey", linewidth=0.8)
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    return _svg(figure, axes, legend=len(draws) > 1)


def training_curves(curves: Mapping[str, Sequence[Mapping[str, float]]]) -> str | None:
    """Loss over the fraction of training; one line for each method with more than one point.

    Arguments:
        curves: method -> the lines of a run's log.jsonl.
    """
    figure, axes = _figure("fraction of the iterations", "loss")
    drawn = {method: lines for method, lines in curves.items() if len(lines) > 1}
    for method, mark in marks(curves).items():
        if lines := drawn.get(method):
            last = lines[-1]["iteration"]
            axes.plot([line["iteration"] / last for line in lines], [line["loss"] for line in lines], color=mark.colour,
                      marker=mark.shape, markevery=max(len(lines) // 8, 1), linestyle=mark.dash, label=method)
    return _svg(figure, axes) if drawn else None


def _figure(x: str, y: str, inches: tuple[float, float] = WIDE) -> tuple[Figure, Axes]:
    figure = Figure(figsize=inches, layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(x, fontsize=POINTS)
    axes.set_ylabel(y, fontsize=POINTS)
    axes.tick_params(labelsize=POINTS)
    axes.grid(alpha=0.3)
    return figure, axes


def _svg(figure: Figure, axes: Axes, *, legend: bool = True) -> str:
    """The figure as an <svg> element that scales with the page; the same figure gives the same text."""
    if legend:
        handles, names = axes.get_legend_handles_labels()
        once = dict(zip(names, handles, strict=True))
        figure.legend(once.values(), once.keys(), fontsize=POINTS, loc="outside lower center", ncols=3)
    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "samunet", "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    # Without a width and height it scales with the page; viewBox preserves its proportions.
    return re.sub(r' (width|height)="[^"]*pt"', "", svg[svg.index("<svg") :], count=2)
