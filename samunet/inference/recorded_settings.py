"""The settings of its variant that each run of a trained model recorded, and whether they need an encoder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from samunet.variants.registry import built_settings, entry, variant_class
from samunet.variants.settings import VariantSettings


def recorded_settings(folder: Path, runs: Mapping[str, Mapping[str, Any]]) -> dict[str, VariantSettings]:
    """The settings of each fold; what older runs did not record is as they were trained.

    Arguments:
        folder: the model's. runs: run.json of each fold.
    """
    return {fold: _settings_of(run, folder / f"fold_{fold}" / "run.json") for fold, run in runs.items()}


def needs_encoder(variant: str, settings: Iterable[VariantSettings]) -> bool:
    """Whether any of the runs, which have these settings, needs an encoder for prediction."""
    return entry(variant).needs_encoder and any(each.needs_encoder for each in settings)


def _settings_of(run: Mapping[str, Any], path: Path) -> VariantSettings:
    kind = variant_class(run["variant"]).settings_type
    recorded = run.get("settings", {}).get("variant_settings") or {}
    return built_settings(run["variant"], {**kind.earlier, **recorded}, path)
