from __future__ import annotations

import pytest

from samunet.errors import UserError
from samunet.planning.normalization_rules import SCHEMES, ZSCORE_CHANNELS, masks_for, schemes_of


def test_scheme_names_count_without_case():
    assert schemes_of(["CT", "noNorm", "zScore", "rescale_to_0_1", "rgb_to_0_1"]) == (
        "ct",
        "nonorm",
        "zscore",
        "rescale_to_0_1",
        "rgb_to_0_1",
    )


@pytest.mark.parametrize(
    "name",
    [
        "MRI",
        "T1",
        "t1w",
        "T1ce",
        "T1Gd",
        "T2",
        "T2w",
        "FLAIR",
        "T2-FLAIR",
        "T2 Flair",
        "PD",
        "ADC",
        "DWI",
        "cine",
        "cine-MRI",
        "cineMRI",
        "PET",
        "US",
        "OCT",
        "microscopy",
    ],
)
def test_known_modalities_are_z_score(name):
    assert schemes_of([name]) == ("zscore",)


def test_every_table_entry_is_known():
    for names in ZSCORE_CHANNELS.values():
        assert schemes_of(names) == ("zscore",) * len(names)


@pytest.mark.parametrize("name", ["CTA", "no_norm", "rgb", "", "channel"])
def test_an_unknown_name_lists_the_known_ones_and_suggests_z_score(name):
    with pytest.raises(UserError) as fault:
        schemes_of(["MRI", name])
    message = str(fault.value)
    assert repr(name) in message and "channel 1" in message and "'zscore'" in message
    assert all(scheme in message for scheme in SCHEMES) and "FLAIR" in message


def test_all_unknown_names_are_told_together():
    with pytest.raises(UserError, match="2 problems") as fault:
        schemes_of(["first", "MRI", "second"])
    assert "'first'" in str(fault.value) and "'second'" in str(fault.value)


def test_masks_only_for_z_score_below_three_quarters():
    assert masks_for(("zscore", "ct", "nonorm"), 0.7499) == (True, False, False)
    assert masks_for(("zscore", "ct", "nonorm"), 0.75) == (False, False, False)


def test_known_schemes_are_nnunets_own():
    mapping = pytest.importorskip("nnunetv2.preprocessing.normalization.map_channel_name_to_normalization")
    assert set(SCHEMES) == set(mapping.channel_name_to_normalization_mapping)
