"""Settings of variants: what `--set` becomes, and what one message says of a wrong one."""

from __future__ import annotations

from dataclasses import asdict, fields
from types import SimpleNamespace

import pytest

from samunet.errors import UserError
from samunet.variants.hybrid_off import HybridSettings
from samunet.variants.lora import LoraSettings
from samunet.variants.registry import (
    ALIASES,
    VARIANTS,
    built_settings,
    changed_beside,
    entry,
    is_known,
    parsed_settings,
    stored_as,
    variant_class,
)
from samunet.variants.settings import described


def test_text_becomes_values_of_the_fields_types() -> None:
    values = parsed_settings("lora", ["rank=16", "learning_rate=1e-2"])
    assert values == {"rank": 16, "learning_rate": 0.01} and isinstance(values["rank"], int)
    settings = built_settings("lora", values)
    assert settings == LoraSettings(learning_rate=0.01, weight_decay=0.1, rank=16)
    assert changed_beside("lora", settings) == {"rank": 16, "learning_rate": 0.01}
    assert parsed_settings("lora", []) == {} and changed_beside("lora", built_settings("lora", {"rank": 4})) == {}


@pytest.mark.parametrize(("given", "found"), [
    (["rank=0"], "Expected `int` >= 1 - at `$.rank`, of 0"),
    (["rank=2.5"], "Expected `int`, got `str` - at `$.rank`, of '2.5'"),
    (["learning_rate=0"], "Expected `float` > 0.0 - at `$.learning_rate`, of 0.0"),
    (["learning_rate=nan"], "not finite - at `$.learning_rate`"),
    (["depth=3", "rank=1"], "no setting depth"),
])
def test_a_wrong_setting_is_one_message_that_lists_what_there_is(given: list[str], found: str) -> None:
    with pytest.raises(UserError) as caught:
        parsed_settings("lora", given)
    assert found in caught.value.found and caught.value.where == "--set"
    assert "rank: int at least 1 at most 256, default 4 - rank of the low-rank updates" in caught.value.mend
    assert "weight_decay: float at least 0 at most 10, default 0.1" in caught.value.mend


def test_all_faults_are_in_one_message() -> None:
    with pytest.raises(UserError) as caught:
        parsed_settings("hybrid", ["transport=sideways", "dropout=1"])
    assert "sideways" in caught.value.found and "$.dropout" in caught.value.found
    assert "transport: off | augment | prior | selftrain | teacher, default prior" in caught.value.mend


@pytest.mark.parametrize("given", [["rank"], ["rank=1", "rank=2"]])
def test_a_setting_is_given_once_with_a_value(given: list[str]) -> None:
    with pytest.raises(UserError, match=r"(?s)once, as name=value.*rank"):
        parsed_settings("lora", given)


def test_a_variant_without_settings_says_so() -> None:
    with pytest.raises(UserError, match="label_prior has no settings"):
        parsed_settings("label_prior", ["rank=1"])


def test_modes_of_hybrid_are_one_variant_whose_runs_keep_their_names() -> None:
    assert "hybrid" in VARIANTS and not set(ALIASES) & set(VARIANTS)
    assert stored_as("hybrid", {"transport": "off", "dropout": 0.2}) == ("hybrid_off", {"dropout": 0.2})
    assert stored_as("hybrid_off", {}) == ("hybrid_off", {}) == stored_as("hybrid_off", {"transport": "off"})
    assert stored_as("hybrid", {}) == ("hybrid", {})
    assert entry("hybrid_augment") is entry("hybrid") and is_known("hybrid_selftrain") and not is_known("nnunet_2d")
    assert built_settings("hybrid_off", {}) == HybridSettings(transport="off")
    assert changed_beside("hybrid_off", built_settings("hybrid_off", {"dropout": 0.2})) == {"dropout": 0.2}
    assert {variant_class(name).__name__ for name in ALIASES} == {
        "HybridOffVariant",
        "HybridAugmentVariant",
        "HybridSelftrainVariant",
        "HybridTeacherVariant",
    }


def test_runs_with_embeddings_have_a_name_of_their_own_where_they_are_named_so() -> None:
    off, on = {"transport": "off", "embeddings": "off"}, {"transport": "off", "embeddings": "on"}
    assert stored_as("hybrid_embeddings", {"embeddings": "on"}) == ("hybrid_embeddings", {})
    # Earlier runs are found under their name.
    assert stored_as("hybrid", off) == stored_as("hybrid_off", off) == ("hybrid_off", {"embeddings": "off"})
    assert not HybridSettings(**off).needs_encoder
    assert built_settings("hybrid_embeddings", {}) == HybridSettings(**on)
    with pytest.raises(UserError, match="hybrid_embeddings is hybrid with transport=off, embeddings=on"):
        stored_as("hybrid_embeddings", {"embeddings": "off"})


def test_an_alias_and_a_setting_that_contradicts_it_are_refused() -> None:
    with pytest.raises(
        UserError,
        match=r"(?s)hybrid_off is hybrid with transport=off.*found: transport=augment.*Name the variant hybrid\.",
    ):
        stored_as("hybrid_off", {"transport": "augment"})


def test_the_batch_of_hybrid_is_a_setting() -> None:
    context = SimpleNamespace(settings=built_settings("hybrid_off", {"batch_size": 1}))
    assert variant_class("hybrid_off").batch_size(context) == 1
    assert variant_class("hybrid_off").batch_size(SimpleNamespace(settings=None)) == 2


@pytest.mark.parametrize("name", sorted({*VARIANTS, *ALIASES}))
def test_every_setting_has_help_and_a_sound_default(name: str) -> None:
    kind = variant_class(name).settings_type
    lines = list(described(kind))
    assert len(lines) == len(fields(kind)) and all(" - " in line and ", default " in line for line in lines)
    assert built_settings(name, asdict(built_settings(name, {}))) == built_settings(name, {})


@pytest.mark.parametrize(("name", "rates"), [
    ("probe", (3e-2, 1e-2)), ("cnn_head", (1e-3, 1e-2)), ("autosam_full", (1e-4, 1e-2)), ("fewshot", (5e-4, 1e-2)),
    ("in_context", (5e-4, 1e-2)), ("hybrid", (2e-3, 1e-2)), ("lora", (1e-3, 0.1)), ("3d_adapter", (8e-4, 0.1)),
    ("3d_adapter_box", (8e-4, 0.1)), ("unet", (1e-2, 3e-5)), ("unet_simclr", (1e-2, 3e-5)),
])
def test_default_rates_are_those_of_older_runs(name: str, rates: tuple[float, float]) -> None:
    settings = asdict(built_settings(name, {}))
    assert (settings["learning_rate"], settings["weight_decay"]) == rates
