"""Which names the members of a bundle may have: those of a model's folder, and nothing else."""

from __future__ import annotations

import re

from samunet.dataset.folder_listing import IMAGE_ENDINGS

MANIFEST, CARD, LICENCE = "manifest.json", "model_card.md", "LICENSE.txt"
REQUIRED = ("plans.json", "dataset.json", CARD, LICENCE)
OPTIONAL = ("dataset_fingerprint.json", "quality.json")
REQUIRED_OF_FOLD = ("run.json", "checkpoint_final.safetensors")
OPTIONAL_OF_FOLD = ("label_statistics.json", "validation/summary.json", "validation/metrics.json")
MOST_DEPTH = 3  # fold_0/validation/case.nii.gz
CAN_HOLD_CODE = (".pkl", ".pickle", ".pth", ".pt", ".ckpt", ".bin", ".joblib", ".npy", ".npz", ".py", ".pyc", ".so",
                 ".dll", ".exe", ".sh")
# Endings of one whole segmentation, and of the sidecar that holds the spacing of one in TIFF.
_PREDICTION_ENDINGS = (*(ending for ending in IMAGE_ENDINGS if ending not in (".hdr", ".img", ".mhd", ".dcm")), ".json")
FOLD = "all|0|[1-9][0-9]{0,3}"
# Of a part of a path that every system can hold: no separators, drive letters, wildcards or control characters.
PORTABLE = r"(?![. ])[^\x00-\x1f\x7f\\/:*?\"<>|]"
_OF_FOLD = re.compile(rf"fold_(?P<fold>{FOLD})/(?P<file>.+)")
_PREDICTION = re.compile(rf"validation/{PORTABLE}+")


def is_prediction(file: str) -> bool:
    """Whether `file`, in a fold's folder, can be the segmentation of a validation case."""
    return bool(_PREDICTION.fullmatch(file)) and file.lower().endswith(_PREDICTION_ENDINGS)


def fold_of(name: str) -> str | None:
    """The fold that a member belongs to, None for files of the model."""
    found = _OF_FOLD.fullmatch(name)
    return found["fold"] if found else None


def broken_rule(name: str) -> str | None:
    """The rule that the name of a member breaks, or None. The separator of a zip's names is `/` on every system."""
    parts = name.split("/")
    for broken, rule in (
        (not name.isprintable(), "The name of a bundle's member must be text without control characters."),
        ("\\" in name, "The name of a bundle's member must not have a backslash."),
        (re.match(r"[A-Za-z]:", name), "The name of a bundle's member must not begin with a drive."),
        (name.startswith("/"), "The path of a bundle's member must not be absolute."),
        (".." in parts, "The path of a bundle's member must not lead to a parent folder."),
        (parts[-1] == "", "A bundle must hold files alone, no entries for folders."),
        ("." in parts or "" in parts, "The path of a bundle's member must be in its shortest form."),
        (name.lower().endswith(CAN_HOLD_CODE), "A bundle must not hold a file that can contain code."),
        (len(parts) > MOST_DEPTH, f"The folders of a bundle must be at most {MOST_DEPTH - 1} deep."),
        (not _is_known(name), "A bundle must hold the files of a samunet model alone."),
    ):
        if broken:
            return rule
    return None


def _is_known(name: str) -> bool:
    if name in (MANIFEST, *REQUIRED, *OPTIONAL):
        return True
    found = _OF_FOLD.fullmatch(name)
    return found is not None and (found["file"] in (*REQUIRED_OF_FOLD, *OPTIONAL_OF_FOLD)
                                  or is_prediction(found["file"]))
