"""Options of MA-SAM's adapters and decoder, one by one: one fold, one draw, equal iterations.

    samunet_plan_and_preprocess -d 4 --no_embeddings
    python studies/adapter_options.py -d 4 --output studies/results/adapter_options.jsonl

Compared one by one with `3d_adapter`: a decoder that does not see the image (the published form), zero-initialised
adapter outputs, a depthwise convolution over slices, and LoRA in place of FacT (adapter_forms.py). Validation cases of
fold 1 (never fold 0), 16 cases of draw 0. A difference is significant if its interval, paired over patients, excludes
zero; this does not cover other draws and longer runs. Paths come from samunet_raw, samunet_preprocessed and
samunet_results; --plans names edited plans, see documentation/plans.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from adapter_forms import register
from commands import figures, trained
from encoder_gain import case_dice
from record import append, facts

from samunet.cli.options import DEFAULT_PLANS_NAME
from samunet.dataset.paths import find_dataset, resolve_paths
from samunet.evaluation.statistics import paired_differences, paired_interval
from samunet.files import read_json
from samunet.planning.groups import kept_groups

OURS = "3d_adapter"
OPTIONS = ("3d_adapter_published", "3d_adapter_zero", "3d_adapter_depthwise", "3d_adapter_lora")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", dest="dataset", required=True)
    parser.add_argument("-p", dest="plans", default=DEFAULT_PLANS_NAME, help="plans name")
    parser.add_argument("--fold", default="1", choices=["1", "2", "3", "4"])
    parser.add_argument("--shots", type=int, default=16)
    parser.add_argument("--iterations", type=int, default=300, help="of every form (default: 300)")
    parser.add_argument("--options", nargs="+", choices=OPTIONS, default=list(OPTIONS))
    parser.add_argument("--output", type=Path, help="a JSON line is appended")
    options = parser.parse_args()
    register()
    paths = resolve_paths()
    groups = kept_groups(paths.preprocessed / find_dataset(paths.raw, options.dataset).name)
    folders = {form: trained(options.dataset, form, options.fold, options.plans, "--iterations",
                             str(options.iterations),
                             shots=options.shots) for form in (OURS, *options.options)}
    dice = {form: case_dice(read_json(folder / "validation" / "summary.json")) for form, folder in folders.items()}
    rows: dict[str, dict[str, Any]] = {}
    print("| form | Dice | over `3d_adapter` | seconds | trained values |\n|---|---|---|---|---|")
    for form, folder in folders.items():
        gain = paired_interval([paired_differences(dice[form], dice[OURS], groups)])
        parameters = read_json(folder / "run.json")["trainable_parameters"]
        rows[form] = figures(folder) | {"gain": [gain.mean, gain.low, gain.high], "trainable_parameters": parameters}
        print(f"| `{form}` | {rows[form]['dice']:.3f} | {gain} | {rows[form]['train_seconds']:.0f} | {parameters} |")
    append(options.output, facts() | {"fold": options.fold, "shots": options.shots, "draw": 0, "rows": rows})


if __name__ == "__main__":
    main()
