"""inference_instructions.txt and inference_information.json: the commands that use the best of what is trained."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samunet.files import write_json, write_text
from samunet.selection.postprocessing_file import NAME
from samunet.selection.trained import Candidate

INSTRUCTIONS, INFORMATION = "inference_instructions.txt", "inference_information.json"


@dataclass(frozen=True)
class Best:
    """The outcome of a comparison.

    Arguments:
        scores: mean foreground Dice of every model and ensemble.
        folder: the cross-validated segmentations of the best, with its postprocessing.json.
        members: the best model, or the two of the best ensemble.
    """

    dataset: str
    folds: tuple[str, ...]
    scores: dict[str, float]
    ensembling: bool
    folder: Path
    dice: float
    dice_postprocessed: float
    models: tuple[Candidate, ...]
    members: tuple[Candidate, ...]


def write_instructions(results: Path, best: Best) -> None:
    """Write both files into the dataset's results. The keys of inference_information.json are nnU-Net's, with
    `variant` and `encoder` in the place of its configuration and trainer."""
    commands = command_lines(best)
    write_json(results / INFORMATION, {
        "folds": list(best.folds),
        "dataset_name_or_id": best.dataset,
        "considered_models": [_named(each) for each in best.models],
        "ensembling_allowed": best.ensembling,
        "all_results": best.scores,
        "best_model_or_ensemble": {
            "result_on_crossval_pre_pp": best.dice,
            "result_on_crossval_post_pp": best.dice_postprocessed,
            "postprocessing_file": str(best.folder / NAME),
            "some_plans_file": str(best.folder / "plans.json"),
            "selected_model_or_models": [_named(each) for each in best.members],
        },
        "commands": commands,
    })
    names = " + ".join(each.folder.name for each in best.members)
    heading = f"# {names}: mean Dice {best.dice:.4f} in cross-validation, {best.dice_postprocessed:.4f} post-processed"
    write_text(results / INSTRUCTIONS, "\n".join([heading, *commands]) + "\n")


def command_lines(best: Best) -> list[str]:
    """Commands from INPUT_FOLDER to OUTPUT_FOLDER_PP: predict with each model, ensemble, post-process."""
    single = len(best.members) == 1
    outputs = ["OUTPUT_FOLDER"] if single else [f"OUTPUT_FOLDER_MODEL_{number}"
                                                for number in range(1, len(best.members) + 1)]
    lines = [_line("samunet_predict", "-i", "INPUT_FOLDER", "-o", output, "-m", str(member.folder), "-f", *best.folds,
                   *([] if single else ["--save_probabilities"]))
             for member, output in zip(best.members, outputs, strict=True)]
    if not single:
        lines.append(_line("samunet_ensemble", "-i", *outputs, "-o", "OUTPUT_FOLDER"))
    return [*lines, _line("samunet_apply_postprocessing", "-i", "OUTPUT_FOLDER", "-o", "OUTPUT_FOLDER_PP", "-pp_file",
                          str(best.folder / NAME))]


def _line(*words: str) -> str:
    return shlex.join(words)


def _named(model: Candidate) -> dict[str, Any]:
    return {"variant": model.variant, "plans_identifier": model.plans_name, "encoder": model.encoder}
