"""The texts of a bundle: the model card, and the terms under which its parts come."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from samunet.dataset.dataset import channel_names_of
from samunet.dataset.labels import LabelSpace
from samunet.inference.bundle.manifest import BundledEncoder, Manifest
from samunet.networks.checkpoints.released import SAM_LICENCE
from samunet.sharing.crossval_table import crossval_table

_CARD = """\
# {variant} on {dataset}

A model of samunet, exported by version {samunet}. Use it by `samunet_predict -m BUNDLE.zip -i images -o segmentations`.

| | |
|---|---|
| variant | `{variant}` |
| settings that differ from the defaults | {settings} |
| labels | {labels} |
| channels, in order | {channels} |
| image files | `{ending}` |
| plans | `{plans}`, spacing {spacing} mm (z, y, x of the plan) |
| encoder | {encoder} |
| folds | {folds} |
| labelled training cases | {cases} |
| trained with | samunet {versions}, finished {finished} |

## Cross-validation

Dice on the validation cases of each fold, which did not train it. Means are over the cases where Dice is defined.

{table}

## What the bundle contains of the training data

{contained}
`run.json`, `label_statistics.json` and the scores name the training and validation cases.

## Intended use

Research on images like those of the training: same labels, channels and kind of scan. It is not a medical device.
Look at predictions on your own images before you rely on a mean. samunet's page on limits and intended use
(documentation/explanation/limits.md) says more. `LICENSE.txt` states the terms.
"""
_LICENCE = """\
Terms of this model bundle
==========================

Weights: trained on {dataset}. Its dataset.json states this licence:

    {licence}

Whoever shares these weights must be permitted to by that licence, and by the owners of the images.

Encoder `{encoder}`: its weights are not in this bundle. {encoder_terms}

samunet, which reads this bundle, is under the Apache License 2.0. It is research software, provided "as is" without
warranties of any kind, and not a medical device.
"""


def card_text(manifest: Manifest, folder: Path, runs: Mapping[str, Mapping[str, Any]], labels: LabelSpace,
              dataset: Mapping[str, Any], spacing_mm: tuple[float, ...]) -> str:
    """The model card, in Markdown.

    Arguments:
        runs: run.json of each fold of the model in `folder`.
        dataset: the content of dataset.json.

    Raises:
        UserError: see `crossval_table` and `channel_names_of`.
    """
    last = list(runs.values())[-1]
    changed = last["settings"].get("changed_settings") or {}
    return _CARD.format(
        variant=manifest.variant, dataset=manifest.dataset, samunet=manifest.samunet, plans=manifest.plans,
        settings=", ".join(f"`{name}={value}`" for name, value in changed.items()) or "none",
        labels=", ".join(f"{name} ({value})" for name, value in labels.names.items()),
        channels=", ".join(channel_names_of(dataset, folder / "dataset.json")), ending=dataset["file_ending"],
        spacing=" x ".join(f"{value:g}" for value in spacing_mm), encoder=_encoder(manifest.encoder),
        folds=", ".join(manifest.folds), cases=len({name for run in runs.values() for name in run["train_cases"]}),
        versions=last.get("versions", {}).get("samunet", "of unknown version"), finished=last["finished"],
        table=crossval_table(folder, runs, labels), contained=_contained(manifest),
    )


def licence_text(manifest: Manifest, dataset: Mapping[str, Any]) -> str:
    """What is known of the terms: the dataset's own words, the encoder's, samunet's."""
    stated = next((str(dataset[key]) for key in ("licence", "license") if dataset.get(key)), None)
    terms = "It is part of samunet."
    if not manifest.encoder.shipped:
        terms = f"They have a licence of their own, that of their owner. ({SAM_LICENCE}.)"
    return _LICENCE.format(dataset=manifest.dataset, encoder=manifest.encoder.id, encoder_terms=terms,
                           licence=stated or "(none). Ask those who exported the model which use they permit.")


def _encoder(encoder: BundledEncoder) -> str:
    if not encoder.needed:
        return f"`{encoder.id}`; prediction does not load it"
    if encoder.shipped:
        return f"`{encoder.id}`, which is part of samunet"
    return (f"`{encoder.id}`, weights with digest {encoder.digest}. **They are not in this bundle.** Put the file "
            f"`{encoder.name}` into the checkpoints folder, or name it with `--encoder`")


def _contained(manifest: Manifest) -> str:
    if manifest.training_images:
        return (f"**Its checkpoints hold {manifest.training_images} training images with their labels**, which "
                f"`{manifest.variant}` registers to each new image. Share the bundle only where you may share these "
                "images.")
    return ("Its checkpoints hold no training image. Weights are computed from training images and labels; what can be "
            "inferred from them was not measured.")
