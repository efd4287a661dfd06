"""Meta-learn the start of `hybrid`'s network on synthetic anatomies; it needs no data.

    python studies/pretrain_start.py -o FOLDER --steps 4000

Run the same command again, with as many or more steps, to continue: the folder's state.safetensors holds all that the
next step depends on. A machine that has only the exported hybrid-start.safetensors continues from it with --weights.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from samunet.cli.figures import LARGEST_SEED, whole
from samunet.files import require_writable
from samunet.locks import owned
from samunet.pretraining.start_trainer import LOG, StartTrainer


def main() -> None:
    """Train, and print the last lines of the log."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", dest="output", type=Path, required=True, help="folder of state, log and weights")
    parser.add_argument("--steps", type=whole(1, 10**7), required=True, help="episodes, finished ones counted")
    parser.add_argument("--weights", type=Path, help="exported weights to begin with, where the folder has no state")
    parser.add_argument("--seed", type=whole(0, LARGEST_SEED), default=0, help="of first weights and episodes")
    options = parser.parse_args()
    with owned(require_writable(options.output) / ".pretraining.lock", options.output):
        StartTrainer(options.output, options.seed, options.weights).run(options.steps)
    print((options.output / LOG).read_text(encoding="utf-8").splitlines()[-1])


if __name__ == "__main__":
    main()
