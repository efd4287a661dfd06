"""What studies of memory share: one training step of each setting in a process of its own, beside what is expected."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from record import append, facts

from samunet.networks.checkpoints.encoders import Encoder, load_encoder
from samunet.networks.sam import build_sam


def measure(script: str, description: str, settings: Sequence[str], step: Callable[[str], dict[str, Any]]) -> None:
    """The main function of such a study.

    Arguments:
        script: its file. settings: by default. step: of one setting, in this process; its figures are `measured_gb`,
            `expected_gb` and `seconds`.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", nargs="+", default=settings)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.one:
        print(json.dumps(step(options.one)))
        return
    rows = []
    for setting in options.settings:
        command = [sys.executable, script, "--one", setting, "--threads", str(options.threads)]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        row = json.loads(output.strip().splitlines()[-1])
        rows.append(row)
        print(f"{setting:28} measured {row['measured_gb']:6.2f} GB  expected {row['expected_gb']:6.2f} GB  "
              f"{row['expected_gb'] / row['measured_gb'] - 1:+.1%}  {row['seconds']:.0f} s", flush=True)
    append(options.output, facts() | {"torch": torch.__version__, "threads": options.threads, "rows": rows})


def random_encoder(size: str, input_size: int) -> Encoder:
    """An encoder of random weights, loaded from a file as any encoder."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{size}.pth"
        torch.save(build_sam(size, 256).state_dict(), path)
        return load_encoder(str(path), input_size)
