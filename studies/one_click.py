"""One click against automatic segmentation on synthetic tumours, and what a negative click removes.

    python studies/one_click.py --work tumours --minutes 10 --output studies/results/one_click.jsonl

The dataset is `synthetic_tumours`: of five blobs of one look only a faint core says which is the tumour. On the same
training cases and for the same minutes: `3d_promptable`, `3d_promptable_auto`, `unet`. Beside them, prompted by the
same simulated clicks, `sam_zeroshot` and a region grown by SimpleITK. Test cases with a tumour give the Dice; those
without one must stay empty without a prompt. Then, in every test case, a distractor is added to the answer of one
click, and a negative click on its middle must remove it (REMOVED of its voxels) and no other voxel.

Every row with clicks is an oracle's. A second call with the same --work does only what is left to do. Appends one JSON
line to --output.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from click_rows import GROWN, UNTRAINED, clicked, effort, grown, labelled, once, row, trained
from commands import call, work_in
from record import append, facts
from synthetic_tumours import CORE, DATASET, make_dataset, read

from samunet.evaluation.clicks import next_click, tie_breaker
from samunet.evaluation.statistics import paired_differences, paired_interval
from samunet.files import read_json, write_json
from samunet.inference.model_folder import load_model
from samunet.interaction.click_evaluation import ClickSettings
from samunet.interaction.session import Session

LABEL = "tumour"
CLICKS = ClickSettings()
AHEAD = 0.10  # Dice of one click over automatic segmentation, fixed before any figure was seen
REMOVED = 0.90  # share of a distractor's voxels
AUTOMATIC = ("3d_promptable_auto", "unet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for dataset and models")
    parser.add_argument("--cases", type=int, nargs=2, default=(20, 10), help="training and test cases")
    parser.add_argument("--core", type=float, default=CORE, help=f"brightness of a tumour's core (default: {CORE:g})")
    parser.add_argument("--minutes", type=float, default=1.0, help="of training, of each network (default: 1)")
    parser.add_argument("--prompted", nargs="+", default=["3d_promptable", "sam_zeroshot"],
                        help="variants that answer clicks; the first is the one that is judged")
    parser.add_argument("--automatic", nargs="+", default=list(AUTOMATIC))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    work_in(options.work)
    dataset = make_dataset(options.work / "raw", *options.cases, options.seed, options.core)
    call("plan_and_preprocess", "-d", DATASET, "--no_embeddings", "-np", "1")
    runs = {variant: trained(DATASET, variant, "all", options.minutes, options.seed)
            for variant in (*options.prompted, *options.automatic)}
    rows = {**prompted_rows(options, dataset, runs),
            **{variant: automatic_row(runs[variant], dataset) for variant in options.automatic}}
    judged = options.prompted[0]
    compare(rows, judged, options.automatic)
    negative = once(runs[judged] / "clicks" / "negative.json", partial(negative_clicks, runs[judged], dataset))
    record = content(options, rows, summary(negative))
    for name, found in rows.items():
        print(f"{name:32} Dice {found['score']:.3f}, empty where there is none: {found['empty']}")
    print(record["met"], record["negative"])
    append(options.output, facts() | record)


def prompted_rows(options: argparse.Namespace, dataset: Path, runs: dict[str, Path]) -> dict[str, dict[str, Any]]:
    """A row for each method that answers clicks; its score is the Dice after one click."""
    images, references = dataset / "imagesTs", dataset / "labelsTs"
    rows = {}
    for variant in options.prompted:
        found = clicked(runs[variant], images, references, "test", CLICKS)
        rows[variant] = row(found) | empty_cases(found) | ({} if variant in UNTRAINED else effort(runs[variant]))
    labels = load_model(runs[options.prompted[0]].parent, ["all"], torch.device("cpu")).labels
    test = labelled(images, references, names_in(references))
    training = [case for case in labelled(dataset / "imagesTr", dataset / "labelsTr", names_in(dataset / "labelsTr"))
                if case.truth.any()]
    found = grown(options.work / "grown.json", training, test, labels, CLICKS)
    rows[GROWN] = row(found) | empty_cases(found) | {"parameters": found["parameters"]}
    for method in rows.values():
        method["score_of_cases"] = {name: dice[1] for name, dice in method["cases"].items()}
        method["score"] = method["dice"][1]
    return rows


def names_in(references: Path) -> list[str]:
    return sorted(path.name.removesuffix(".nii.gz") for path in references.glob("*.nii.gz"))


def empty_cases(found: dict[str, Any]) -> dict[str, str]:
    """Of the cases without the label, how many have an empty mask without a prompt: `2 of 2`."""
    without = [labels[LABEL] for labels in found["cases"].values() if not labels[LABEL]["present"]]
    return {"empty": f"{sum(row['Dice'][0] == 1 for row in without)} of {len(without)}"}


def automatic_row(run: Path, dataset: Path) -> dict[str, Any]:
    """A row of a variant without prompts: its Dice on cases with a tumour, and whether others stay empty."""
    predicted = run / "clicks" / "predicted"
    if not (predicted / "summary.json").is_file():
        call("predict", "-m", run.parent, "-f", "all", "-i", dataset / "imagesTs", "-o", predicted,
             "--continue_prediction")
        call("evaluate_folder", dataset / "labelsTs", predicted, "-djfile", dataset / "dataset.json", "-np", "1")
    found = {Path(case["reference_file"]).name.removesuffix(".nii.gz"): case["metrics"]["1"]
             for case in read_json(predicted / "summary.json")["metric_per_case"]}
    scores = {name: metrics["Dice"] for name, metrics in found.items() if metrics["n_ref"]}
    without = [metrics["n_pred"] for metrics in found.values() if not metrics["n_ref"]]
    return {"score": float(np.mean(list(scores.values()))), "score_of_cases": scores,
            "empty": f"{without.count(0)} of {len(without)}", **effort(run)}


def compare(rows: dict[str, dict[str, Any]], judged: str, others: list[str]) -> None:
    """Add to the rows of `others` how far one click of `judged` is ahead, with its interval over cases."""
    for other in others:
        ahead = paired_differences(rows[judged]["score_of_cases"], rows[other]["score_of_cases"], None)
        rows[other]["one_click_ahead"] = asdict(paired_interval([ahead]))


def negative_clicks(run: Path, dataset: Path, path: Path) -> None:
    """Write to `path`, for each test case, what a negative click on its first distractor changes."""
    session = Session(load_model(run.parent, ["all"], torch.device("cpu")))
    found = {}
    for name, places in read_json(dataset / "distractors.json").items():
        truth, distractors = (read(dataset / kind / f"{name}.nii.gz") for kind in ("labelsTs", "distractorsTs"))
        session.set_image(dataset / "imagesTs" / f"{name}_0000.nii.gz")
        click = next_click(truth > 0, session.mask > 0, tie_breaker(CLICKS.seed, name, LABEL, 0))
        if click is not None:
            session.add_point(click.place, LABEL)
        found[name] = without_distractor(session, distractors == 1, places[0])
    write_json(path, found)


def without_distractor(session: Session, distractor: np.ndarray, place: list[int]) -> dict[str, int]:
    """Numbers of voxels: of the distractor, those of it that a negative click on it removes, other ones lost, added.

    Arguments:
        session: its mask is the answer so far. distractor: bool (Z, Y, X). place: (z, y, x) in it.
    """
    before = (session.mask > 0) | distractor
    session.set_mask(before.astype(np.uint8))
    session.add_point(place, LABEL, positive=False)
    after = session.mask > 0
    return {"distractor": int(distractor.sum()), "removed": int((distractor & ~after).sum()),
            "lost": int((before & ~distractor & ~after).sum()), "added": int((after & ~before).sum())}


def summary(found: dict[str, dict[str, int]]) -> dict[str, Any]:
    """How many negative clicks removed REMOVED of their distractor, nothing else, and both."""
    removed = [each["removed"] >= REMOVED * each["distractor"] for each in found.values()]
    nothing_else = [each["lost"] + each["added"] == 0 for each in found.values()]
    return {"clicks": len(found), "removed": sum(removed), "nothing_else": sum(nothing_else),
            "both": sum(a and b for a, b in zip(removed, nothing_else, strict=True)), "voxels": found}


def content(options: argparse.Namespace, rows: dict[str, dict[str, Any]], negative: dict[str, Any]) -> dict[str, Any]:
    """The record. `met`: what must be shown, and whether it is."""
    judged = options.prompted[0]
    stays, _, cases = rows[judged]["empty"].partition(" of ")
    met = {f"one click {AHEAD:.2f} ahead of {other}": rows[other]["one_click_ahead"]["mean"] >= AHEAD
           for other in options.automatic}
    met |= {"a negative click removes its distractor and nothing else": negative["both"] == negative["clicks"],
            "empty without prompts": stays == cases}
    return {"judged": judged, "oracle": True, "cases": options.cases, "core": options.core,
            "minutes": options.minutes, "seed": options.seed, "threads": options.threads, "met": met,
            "negative": negative, "rows": rows}


if __name__ == "__main__":
    main()
