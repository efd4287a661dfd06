"""The AutoSAM paper's table and the columns of MA-SAM's, theirs beside ours, from a finished benchmark.

    samunet_benchmark -d 27 --variants label_prior atlas linear_head cnn_head autosam autosam_full unet unet_simclr \\
        3d_adapter hybrid --nnunet 2d --shots 1 5 all --minutes_head 1.5 --minutes_network 5 -device cpu
    python studies/paper_table.py -d 27 --output studies/results/paper_table.jsonl

reads `samunet_results/<dataset>/benchmark/cases.csv`; `--cases FILE` names another. `five_folds.py` prints the same
tables from the lines of several sittings. Dice and ASSD are of each class in each case, then means over cases, draws
and classes; an infinite distance (a class that one of the masks lacks) is left out and counted.

What differs from Hu et al., arXiv 2306.06370, who have no such figures by class in what we read of them: they split
100 patients 70:15:15 five times at random, here grouped folds hold other patients out; their labelled volume is a
patient of two frames, here it is one case; their figures are of slices of 224 x 224 pixels, here of the images' own
grid; the unit of their ASSD is not known to us, here it is mm. Ma et al.'s (MA-SAM, arXiv 2309.08842) figures are of
BTCV, another dataset, and their HD is shown beside our HD95.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

from autosam_directions import EQUAL, Row, compared, scores_of
from case_results import chosen, from_csv
from record import append, facts
from table_format import code, markdown

from samunet.benchmarking.comparison import Summary, summarise
from samunet.benchmarking.results import Result
from samunet.cli.options import add_paths, paths_of
from samunet.dataset.dataset import load_dataset
from samunet.dataset.paths import find_dataset
from samunet.planning.groups import known_groups

Groups = Mapping[str, str] | None
SHOTS = (1, 5)


@dataclass(frozen=True)
class Published:
    """A row of the AutoSAM paper: mean Dice of RV, Myo and LV at 1 and 5 volumes, and ASSD where we know it."""

    name: str
    dice: Mapping[int, float]
    assd: Mapping[int, float]


AUTOSAM = {
    "unet": Published("UNet", {1: 0.176, 5: 0.518}, {5: 32.3}),
    "unet_simclr": Published("UNet + SimCLR", {1: 0.204, 5: 0.572}, {}),
    "linear_head": Published("linear head", {1: 0.229, 5: 0.311}, {}),
    "cnn_head": Published("CNN head", {1: 0.404, 5: 0.672}, {5: 25.5}),
    "autosam": Published("AutoSAM", {1: 0.393, 5: 0.671}, {5: 17.5}),
    "autosam_full": Published("AutoSAM, all fine-tuned", {1: 0.303, 5: 0.378}, {}),
}
# Each pair is a claim: what is better in the paper's table, at that number of volumes, should be so here.
PAIRS = (("cnn_head", "unet"), ("autosam", "unet"), ("cnn_head", "unet_simclr"), ("autosam", "unet_simclr"),
         ("unet_simclr", "unet"), ("cnn_head", "linear_head"), ("autosam", "linear_head"), ("linear_head", "unet"),
         ("autosam", "autosam_full"), ("autosam_full", "unet"), ("cnn_head", "autosam"))
VERDICTS = {"holds": "holds", "about equal": "holds", "the other way round": "does not hold",
            "not equal": "does not hold", "not significant": "undecided", "not decided": "undecided"}

# MA-SAM's table of BTCV's 12 organs: name there, mean Dice, HD.
MA_SAM = {
    "3d_adapter": ("MA-SAM", "0.872", "2.67"), "nnunet_2d": ("nnU-Net", "0.863", "4.39"),
    "nnunet_3d_fullres": ("nnU-Net", "0.863", "4.39"), "nnformer": ("nnFormer", "0.856", "9.95"),
    "swin_unetr": ("SwinUNETR", "0.831", "4.37"), "lora": ("SAMed", "0.821", "7.73"),
    "ux_net": ("3D UX-Net", "0.814", "6.68"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", dest="dataset", required=True)
    parser.add_argument("--cases", type=Path, help="a cases.csv (default: of the dataset's benchmark)")
    parser.add_argument("--output", type=Path, help="a JSON line is appended")
    add_paths(parser)
    options = parser.parse_args()
    paths = paths_of(options)
    dataset = load_dataset(find_dataset(paths.raw, options.dataset))
    groups = known_groups(dataset, paths.preprocessed / dataset.name)
    names = {str(label): dataset.labels.name_of(label) for label in dataset.labels.foreground}
    results = from_csv(options.cases or paths.results / dataset.name / "benchmark" / "cases.csv")
    print(tables(results, names, groups))
    append(options.output, facts() | {"dataset": dataset.name} | content(results, names, groups))


def tables(results: Sequence[Result], names: Mapping[str, str], groups: Groups) -> str:
    """The paper's table, its directions, and MA-SAM's columns, as Markdown.

    Arguments:
        names: class key -> name, in the columns' order.
    """
    rows = autosam_rows(results, names, groups)
    organs = list(names.values())
    first = markdown(
        ["paper", "here", "labelled", "Dice, paper", "Dice", *(f"Dice {organ}" for organ in organs), "ASSD, paper",
         "ASSD mm", *(f"ASSD mm {organ}" for organ in organs)], rows)
    second = markdown(["labelled", "metric", "the paper's direction", "difference", ""],
                      direction_rows(results, groups))
    third = markdown(
        ["MA-SAM", "here", "labelled", "Dice, MA-SAM on BTCV", "Dice", *(f"Dice {organ}" for organ in organs),
         "HD, MA-SAM on BTCV", "HD95 mm", *(f"HD95 mm {organ}" for organ in organs), "folds missing"],
        ma_sam_rows(results, names, groups))
    return f"{first}\n\n{second}\n\n{third}"


def content(results: Sequence[Result], names: Mapping[str, str], groups: Groups) -> dict[str, Any]:
    """What is recorded: the rows of the three tables."""
    return {"classes": list(names.values()), "autosam": autosam_rows(results, names, groups),
            "directions": [asdict(row) for row in directions(results, groups)],
            "ma_sam": ma_sam_rows(results, names, groups)}


def autosam_rows(results: Sequence[Result], names: Mapping[str, str], groups: Groups) -> list[list[Any]]:
    """A row for each of the paper's and number of volumes; where nothing was run here, our cells are empty."""
    rows = []
    for shots in SHOTS:
        for method, published in AUTOSAM.items():
            result = chosen(results, method, shots)
            assd = published.assd.get(shots)
            ours = [_cells(result, metric, names, groups) for metric in ("Dice", "ASSD_mm")]
            rows.append([published.name, code(method), shots, f"{published.dice[shots]:.3f}", *ours[0],
                         None if assd is None else f"{assd:.1f}", *ours[1]])
    return rows


def ma_sam_rows(results: Sequence[Result], names: Mapping[str, str], groups: Groups) -> list[list[Any]]:
    """A row for each result; published figures beside those that MA-SAM's table has and that trained on all cases."""
    rows = []
    for result in results:
        name, dice, distance = MA_SAM.get(result.method, (None,) * 3) if result.shots is None else (None,) * 3
        rows.append([name, code(result.method), result.labelled, dice, *_cells(result, "Dice", names, groups), distance,
                     *_cells(result, "HD95_mm", names, groups), ", ".join(result.missing)])
    return rows


def directions(results: Sequence[Result], groups: Groups) -> Iterator[Row]:
    """Every claim whose two methods were run, by paired difference; `verdict` is one of VERDICTS' values."""
    scores = scores_of(results)
    for shots in SHOTS:
        for metric in ("Dice", "ASSD_mm"):
            for one, other in PAIRS:
                order = _order(metric, shots, one, other)
                if order and _have_common(scores, [(method, str(shots), metric) for method in order]):
                    row = compared(scores, dict(groups) if groups else None, str(shots), metric, *order)
                    yield replace(row, verdict=VERDICTS[row.verdict])


def direction_rows(results: Sequence[Result], groups: Groups) -> Iterator[list[Any]]:
    """The claims as cells."""
    for row in directions(results, groups):
        claim = "about equal to" if (row.better, row.worse) == EQUAL and row.metric == "Dice" else "better than"
        left_out = f" ({row.left_out} cases left out: infinite)" if row.left_out else ""
        yield [row.shots, row.metric.replace("_", " "), f"`{row.better}` {claim} `{row.worse}`",
               f"{row.difference:+.3f} [{row.low:+.3f}, {row.high:+.3f}]", row.verdict + left_out]


def _order(metric: str, shots: int, one: str, other: str) -> tuple[str, str] | None:
    """The two methods, the one that the paper has ahead first; None where it gives no figure of one."""
    if metric == "Dice":
        behind = AUTOSAM[one].dice[shots] < AUTOSAM[other].dice[shots]
    elif shots in AUTOSAM[one].assd and shots in AUTOSAM[other].assd:
        behind = AUTOSAM[one].assd[shots] > AUTOSAM[other].assd[shots]
    else:
        return None
    return (other, one) if behind else (one, other)


def _have_common(scores: Mapping[Any, Mapping[int, Mapping[str, float]]], keys: Sequence[tuple[str, str, str]]) -> bool:
    """Whether the two have a draw with a case whose values are finite in both."""
    first, second = (scores.get(key, {}) for key in keys)
    return any(math.isfinite(first[draw][case]) and math.isfinite(second[draw].get(case, math.nan))
               for draw in first.keys() & second.keys() for case in first[draw])


def _cells(result: Result | None, metric: str, names: Mapping[str, str], groups: Groups) -> list[str | None]:
    """The mean over classes, then each class: means over cases and draws, with the number of infinite values."""
    of_class = {key: summarise(result, metric, groups, key) if result else None for key in names}
    defined = [found.interval.mean for found in of_class.values() if found]
    digits = 3 if metric == "Dice" else 2
    average = f"{mean(defined):.{digits}f}" if defined and len(defined) == len(names) else None
    return [average, *(_cell(found, digits) for found in of_class.values())]


def _cell(found: Summary | None, digits: int) -> str | None:
    if found is None:
        return None
    return f"{found.interval.mean:.{digits}f}" + (f" ({found.infinite} infinite)" if found.infinite else "")


if __name__ == "__main__":
    main()
