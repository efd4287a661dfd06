"""A trained model's checkpoint, read into its variant."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from samunet.errors import UserError
from samunet.variants.base import Variant

CHECKPOINT = "checkpoint_final.safetensors"


def load_weights(path: Path, variant: Variant) -> None:
    """Give `variant` the tensors of the file.

    Raises:
        UserError: it is missing or broken, or of another variant or plan.
    """
    try:
        variant.load_state(load_file(path))
    except (OSError, SafetensorError, KeyError, RuntimeError) as fault:
        raise UserError("A trained model's checkpoint must be whole, and made by the same variant and plans.", where=path,
                        found=str(fault), mend="Copy the model's folder again, or train the fold again.") from fault
