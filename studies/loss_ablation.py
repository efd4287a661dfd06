"""Each pretraining loss left out in turn, with one short budget, on synthetic families and by a probe on real cases.

    samunet_plan_and_preprocess -d 4 --no_embeddings
    python studies/loss_ablation.py -d 4 --work ablation --output studies/results/loss_ablation.jsonl

Trains `samunet_pretrain_encoder` with all losses and without each (finished runs are reused), then `probe` at 5 shots,
draw 0 on fold 1, by `studies/encoder_gain.py`, on each of them and on `untrained`. The real cases decide nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from record import append, facts

from samunet.cli.pretrain_encoder import main as pretrain
from samunet.files import read_json
from samunet.pretraining.recipe import LOSSES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", dest="dataset", required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder of the trained encoders")
    parser.add_argument("--phases", nargs="+", default=["128:600:2"],
                        help="one budget for all, in which the decoder's losses have their whole share at the end "
                             "(default: 128:600:2)")
    parser.add_argument("--output", type=Path, help="a JSON line is appended")
    options = parser.parse_args()
    encoders = {name: trained(options, name) for name in ("", *LOSSES)}
    scores = options.work / "probe.jsonl"
    scores.unlink(missing_ok=True)
    subprocess.run([sys.executable, str(Path(__file__).with_name("encoder_gain.py")), "-d", options.dataset,
                    "--encoders", *map(str, encoders.values()), "untrained", "--heads", "probe", "--shots", "5",
                    "--draws", "0", "--output", str(scores)], check=True)
    dice = {row["encoder"]: row["dice"] for row in json.loads(scores.read_text(encoding="utf-8"))["rows"]}
    rows = [row(name, path, dice) for name, path in encoders.items()]
    print("| left out | probe, 5 shots | synthetic families | phantoms | in context |\n|---|---|---|---|---|")
    for each in rows:
        print(f"| {each['left_out'] or 'nothing'} | {each['dice']:.3f} | {each['probe_made']:.3f} | "
              f"{each['probe_phantom']:.3f} | {each['in_context']:.3f} |")
    print(f"| all (`untrained`) | {dice['untrained']:.3f} | | | |")
    append(options.output, facts() | {"rows": rows, "untrained": dice["untrained"]})


def trained(options: argparse.Namespace, left_out: str) -> Path:
    """The weights of a run without loss `left_out` ("": with all)."""
    folder = options.work / (f"without_{left_out}" if left_out else "all")
    without = ["--without", left_out] if left_out else []
    if code := pretrain(["-o", str(folder), "--phases", *options.phases, *without]):
        sys.exit(code)
    # Files of one name differ by their folders here, and by a hash in caches and results.
    return folder / "mini.safetensors"


def row(left_out: str, weights: Path, dice: dict[str, float]) -> dict[str, Any]:
    """The metrics of one run."""
    card = read_json(weights.with_suffix(".json"))
    return {"left_out": left_out, "dice": dice[str(weights)], **card["validation"][-1],
            "steps": card["steps"], "hours": card["hours"], "recipe": card["recipe"]}


if __name__ == "__main__":
    main()
