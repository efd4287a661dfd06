"""Whether two installations of samunet give the same weights, predictions and summary.json on the phantom.

    python studies/same_results.py --before old/.venv/bin --after .venv/bin --work scratch

Each installation plans and preprocesses the phantom, then trains every variant for a few iterations from two labelled
cases, validates it, predicts the two test cases and evaluates them. Weights are compared tensor by tensor, images byte
by byte, `summary.json` without the paths that it names. Variants that answer prompts get oracle boxes, and predict no
test case.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from record import append, facts
from safetensors.numpy import load_file

from samunet.dataset.phantom import NAME, make_phantom_dataset
from samunet.digests import digest_of_array, digest_of_file, digest_of_json
from samunet.files import read_json

SHOTS = 2
ONE_WORKER = ("-np", "1")
VARIANTS = ("probe", "linear_head", "cnn_head", "autosam", "fewshot", "in_context", "autosam_full", "hybrid",
            "hybrid_off", "hybrid_augment",
            "hybrid_selftrain", "lora", "3d_adapter", "unet", "unet_simclr", "label_prior", "atlas")
PROMPTED = ("3d_adapter_box", "sam_zeroshot")


class Side:
    """One installation and the folder that it works in."""

    def __init__(self, commands: Path, work: Path, iterations: int) -> None:
        self.commands, self.work, self.iterations = commands, work, iterations
        make_phantom_dataset(work / "raw")
        self.call("plan_and_preprocess", "-d", NAME, *ONE_WORKER)

    def call(self, command: str, *arguments: str | Path) -> None:
        """Run a command; ends this script where it fails."""
        folders = {f"samunet_{part}": str(self.work / part) for part in ("raw", "preprocessed", "results")}
        log = self.work / "log.txt"
        with log.open("a") as stream:
            done = subprocess.run([str(self.commands / f"samunet_{command}"), *map(str, arguments)], check=False,
                                  env=os.environ | folders | {"OMP_NUM_THREADS": "1"}, stdout=stream, stderr=stream)
        if done.returncode:
            sys.exit(f"samunet_{command} failed; see {log}")

    def digests(self, variant: str) -> dict[str, str]:
        """File -> digest, of what the variant's run, prediction and evaluation wrote."""
        prompts = ("--oracle_prompts", "box3d") if variant in PROMPTED else ()
        self.call("train", NAME, variant, "0", "--shots", str(SHOTS), "--iterations", str(self.iterations), *prompts,
                  *ONE_WORKER)
        (run,) = self.work.glob(f"results/{NAME}/{variant}__*/*/fold_0")
        found = _digests_below(run / "validation", "validation")
        if (weights := run / "checkpoint_final.safetensors").exists():
            found["weights"] = digest_of_json({name: digest_of_array(tensor)
                                               for name, tensor in load_file(weights).items()})
        if not prompts:
            predicted, raw = self.work / "predicted" / variant, self.work / "raw" / NAME
            self.call("predict", "-i", raw / "imagesTs", "-o", predicted, "-m", run.parent, "-f", "0")
            self.call("evaluate_folder", raw / "labelsTs", predicted, "-djfile", raw / "dataset.json", "-pfile",
                      run.parent / "plans.json")
            found |= _digests_below(predicted, "test")
        return found


def _digests_below(folder: Path, name: str) -> dict[str, str]:
    """Digests of the images and the scores of a folder of predictions."""
    found = {f"{name}/{path.name}": digest_of_file(path) for path in sorted(folder.glob("*.nii.gz"))}
    return found | {f"{name}/summary.json": digest_of_json(_without_paths(read_json(folder / "summary.json")))}


def _without_paths(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _without_paths(value) for key, value in content.items() if not key.endswith("_file")}
    return [_without_paths(value) for value in content] if isinstance(content, list) else content


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="folder with the older installation's commands")
    parser.add_argument("--after", type=Path, required=True, help="folder with the newer installation's commands")
    parser.add_argument("--work", type=Path, required=True, help="folder for what both write; emptied first")
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--variants", nargs="*", default=[*VARIANTS, *PROMPTED])
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    shutil.rmtree(options.work, ignore_errors=True)
    work = options.work.resolve()
    before, after = (Side(commands.resolve(), work / name, options.iterations)
                     for name, commands in (("before", options.before), ("after", options.after)))
    rows: dict[str, Any] = {}
    for variant in options.variants:
        old, new = before.digests(variant), after.digests(variant)
        differing = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
        rows[variant] = {"files": len(old), "differing": differing}
        print(f"{variant:18} {len(old):3} files, "
              f"{'the same' if not differing else 'DIFFERING: ' + ', '.join(differing)}", flush=True)
    append(options.output, facts() | {"iterations": options.iterations, "variants": rows})
    sys.exit(any(row["differing"] for row in rows.values()))


if __name__ == "__main__":
    main()
