from __future__ import annotations

import subprocess
import sys

import pytest

from samunet.errors import UserError
from samunet.variants.base import Baseline
from samunet.variants.kinds import EmbeddingVariant, ImageCropVariant, ImageStackVariant, PatchVariant, VolumeVariant
from samunet.variants.patch3d_kind import Patch3dVariant
from samunet.variants.prompted import PromptedVariant
from samunet.variants.registry import VARIANTS, check_kinds, check_prompts, entry, variant_class


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_every_entry_leads_to_a_variant_that_reads_what_it_says(name: str) -> None:
    kinds = {"arrays": Baseline, "embeddings": EmbeddingVariant, "volumes": VolumeVariant, "patches": PatchVariant,
             "image_crops": ImageCropVariant, "image_stacks": ImageStackVariant, "patches_3d": Patch3dVariant}
    assert issubclass(variant_class(name), PromptedVariant if name == "sam_zeroshot" else kinds[entry(name).needs])
    assert entry(name).help


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UserError) as caught:
        variant_class("unet9000")
    assert caught.value.found == "unet9000"
    assert all(name in caught.value.mend for name in VARIANTS)


def test_prompts_and_the_variants_that_answer_them_belong_together() -> None:
    check_prompts("sam_zeroshot", True)
    check_prompts("cnn_head", False)
    check_kinds("sam_zeroshot", ["points", "negative points", "boxes", "masks"], "here")
    check_kinds("3d_adapter_box", ["boxes", "masks"], "here")
    with pytest.raises(UserError, match="(?s)needs some.*--prompts.*--oracle_prompts"):
        check_prompts("sam_zeroshot", False)
    with pytest.raises(UserError, match="(?s)cnn_head.*one of: 3d_adapter_box, 3d_promptable, sam_zeroshot"):
        check_prompts("cnn_head", True)
    with pytest.raises(UserError, match="(?s)3d_adapter_box answers boxes, masks alone.*here.*negative points, points"):
        check_kinds("3d_adapter_box", {"points", "negative points", "boxes"}, "here")


def test_a_variants_class_names_the_prompts_that_the_registry_names() -> None:
    assert {name: variant_class(name).prompts for name in VARIANTS} == {
        name: each.prompts for name, each in VARIANTS.items()}


def test_registry_imports_no_torch() -> None:
    code = "import sys, samunet.variants.registry; print({'torch', 'numpy', 'SimpleITK'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
