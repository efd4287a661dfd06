"""Whether a tenth of the labels is enough: runs from few cases or slices against the best model from all cases.

    samunet_benchmark -d 4 --folds 0 --shots all --minutes_head 1.5 --minutes_network 10 ...
    samunet_benchmark -d 4 --folds 0 --shots 16 --minutes_head 1.5 --minutes_network 3 ...
    python studies/headline.py -d 4 --fold 0 --variants hybrid unet --shots 16 --output studies/results/headline.jsonl

The full model is the best in mean Dice on the fold's validation cases among all runs from all cases in the results
folder, except those with oracle prompts; this selection makes it slightly too good. A run from few labels, of draw 0,
holds if the whole paired interval of its Dice minus 0.98 of the full model's is above 0. That is decided only if the
full model reaches 0.87; otherwise it has not converged and the verdict is "undecided". `--shot_slices` selects runs
from so many labelled slices of `--shots` cases. The record stores the full model's Dice of each case, and `--full`
reads them from there when the run no longer exists. Paths come from samunet_raw, samunet_preprocessed and
samunet_results.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any

from encoder_gain import case_dice
from record import append, facts

from samunet.cli.options import DEFAULT_PLANS_NAME
from samunet.dataset.paths import find_dataset, resolve_paths
from samunet.evaluation.statistics import Interval, paired_differences, paired_interval
from samunet.files import read_json
from samunet.networks.checkpoints.encoders import encoder_spec
from samunet.planning.encoder_spec import DEFAULT_ENCODER
from samunet.planning.groups import kept_groups
from samunet.planning.shots import draw_folder

SHARE, CONVERGED = 0.98, 0.87  # both stood before any figure was seen

Scores = Mapping[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", dest="dataset", required=True)
    parser.add_argument("--fold", required=True)
    parser.add_argument("--variants", nargs="+", required=True, help="of the runs from few labels")
    parser.add_argument("--shots", type=int, required=True)
    parser.add_argument("--shot_slices", type=int, nargs="+", default=[None])
    parser.add_argument("--full", type=Path, help="records of this script, whose best full model is taken")
    parser.add_argument("--output", type=Path, help="a JSON line is appended")
    options = parser.parse_args()
    paths = resolve_paths()
    name = find_dataset(paths.raw, options.dataset).name
    ending, fold = f"__{DEFAULT_PLANS_NAME}__{encoder_spec(DEFAULT_ENCODER).id}", f"fold_{options.fold}"
    groups = kept_groups(paths.preprocessed / name)
    best, whole = full_model(options.full) if options.full else best_of(paths.results / name, ending, fold)
    converged = mean(whole.values())
    rows: list[dict[str, Any]] = []
    print(f"all cases: {best}, Dice {converged:.4f}")
    for variant in options.variants:
        for slices in options.shot_slices:
            few = scores(paths.results / name / f"{variant}{ending}" / draw_folder(options.shots, 0, slices) / fold)
            margin, dice = above_share(few, whole, groups), mean(few.values())
            rows.append({"variant": variant, "shots": options.shots, "slices": slices, "dice": dice,
                         "share": dice / converged,
                         "margin": vars(margin), "verdict": verdict(margin, converged)})
            print(f"{variant}, {options.shots} case(s){'' if slices is None else f', {slices} slices'}: Dice "
                  f"{rows[-1]['dice']:.4f}, {rows[-1]['share']:.3f} of it, over {SHARE} of it {margin}: "
                  f"{rows[-1]['verdict']}")
    append(options.output, facts() | {"fold": options.fold, "full": best, "full_dice": converged, "full_cases": whole,
                                      "rows": rows})


def best_of(results: Path, ending: str, fold: str) -> tuple[str, Scores]:
    """The variant with the best mean Dice among the runs from all cases without oracle prompts, and its cases'."""
    whole = {folder.name.removesuffix(ending): scores(folder / fold) for folder in sorted(results.glob(f"*{ending}"))
             if (folder / fold / "validation" / "summary.json").is_file()
             and not read_json(folder / fold / "run.json")["settings"].get("oracle_prompts")}
    return max(whole.items(), key=lambda each: mean(each[1].values()))


def full_model(records: Path) -> tuple[str, Scores]:
    """The best full model that any line was held against."""
    best = max(map(json.loads, records.read_text(encoding="utf-8").splitlines()),
               key=lambda record: record["full_dice"])
    return best["full"], best["full_cases"]


def scores(fold: Path) -> dict[str, float]:
    """Case -> mean Dice of its classes."""
    return case_dice(read_json(fold / "validation" / "summary.json"))


def above_share(few: Scores, full: Scores, groups: Mapping[str, str] | None) -> Interval:
    """`few` less 0.98 of `full`, the mean over cases and its interval over patients."""
    return paired_interval([paired_differences(few, {case: SHARE * dice for case, dice in full.items()}, groups)])


def verdict(margin: Interval, full_dice: float) -> str:
    """`holds`, `missed` or, for a full model under 0.87, `undecided`."""
    if full_dice < CONVERGED:
        return "undecided"
    return "holds" if margin.low > 0 else "missed"


if __name__ == "__main__":
    main()
