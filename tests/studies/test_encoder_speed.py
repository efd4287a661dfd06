"""What the speed script leaves out, and what its record says of it."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch


@pytest.fixture
def speed(script) -> ModuleType:
    return script("encoder_speed")


def test_a_type_that_is_only_emulated_is_left_out_with_the_processors_flags(speed, monkeypatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": False})
    assert speed.emulated(["float32", "bfloat16"], "cpu") == {
        "bfloat16": "the fast mode cannot be measured here, cpu only emulates bfloat16 (processor flags avx512_bf16 "
                    "no, amx_bf16 no, avx512_f no, avx2 yes); its fast type is float32"}


def test_what_the_processor_multiplies_is_measured(speed, monkeypatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    assert speed.emulated(["float32", "bfloat16"], "cpu") == {}
