"""A trained model's checkpoint, compared with what its run recorded and read into its variant."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from samunet.errors import UserError
from samunet.files import digest_of_file, read_json
from samunet.networks.checkpoints.tensor_files import COPY_AGAIN, RULE, read_tensors
from samunet.schema import decode
from samunet.variants.base import Variant

CHECKPOINT = "checkpoint_final.safetensors"
DIGEST = "checkpoint_digest"  # in the run.json of the same folder; older runs lack it


@dataclass(frozen=True)
class _Recorded:
    checkpoint_digest: str | None = None


def load_weights(path: Path, variant: Variant) -> None:
    """Load the tensors of the file into `variant`.

    Raises:
        UserError: it is missing or broken, or of another variant or plan.
    """
    try:
        variant.load_state(read_weights(path))
    except (KeyError, RuntimeError, ValueError) as fault:
        raise UserError("A trained model's checkpoint must be complete, and belong to the same variant and plans.",
                        where=path,
                        found=str(fault), mend="Copy the model's folder again, or train the fold again.") from fault


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint.

    Raises:
        UserError: it is missing, broken, not finite, or has another SHA-256 than the run.json of its folder.
    """
    run = path.with_name("run.json")
    recorded = None
    if run.is_file():
        rule = "A run.json must hold the digest of its checkpoint as text."
        recorded = decode(_Recorded, read_json(run), rule=rule, where=run, mend=COPY_AGAIN).checkpoint_digest
    if recorded is not None and path.is_file() and digest_of_file(path) != recorded:
        raise UserError(RULE, where=path, found=f"other content than {run.name} recorded (SHA-256 {recorded[:12]}...)",
                        mend=COPY_AGAIN)
    return read_tensors(path)[0]
