"""Caches of embeddings that were written under a plans file of version 1 stay valid."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from samunet.dataset.geometry import Geometry
from samunet.inputs.embedding_store import difference, planned_signature
from samunet.planning.plans import Plans
from samunet.planning.unet_rules import plan_unet
from samunet.planning.volume_rules import plan_hybrid
from samunet.preprocessing.case import CaseProperties

FIRST = {
    "version": 1,
    "plans_name": "samunetPlans",
    "dataset_name": "Dataset004_Hippocampus",
    "dataset": {
        "reader": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "spacing_mm": [1.0, 1.0, 1.0],
        "median_shape": [36, 50, 35],
        "anisotropic": False,
        "channel_names": ["MRI"],
        "normalization": ["zscore"],
        "use_mask_for_norm": [False],
        "foreground_intensity": [{}],
        "reasons": {},
    },
    "encoders": {
        "mini-3": {
            "encoder": "mini-3",
            "input_size": 256,
            "tile_shape": [59, 43],
            "tile_step": 0.5,
            "composition": "neighbours",
            "stack_depth": 5,
            "batch_size": 16,
            "cache_dtype": "float16",
            "cache_bytes": 1,
            "head_iterations": 400,
            "view_pictures": 800,
            "stack_input_size": 128,
            "stacks": 2,
            "stacks_at_once": 2,
            "checkpointed": False,
            "stack_bytes": 1,
            "reasons": {},
        }
    },
}
# What is beside such a cache of this case.
SIGNATURE = {
    "input_size": 256,
    "tile_shape": [59, 43],
    "tile_step": 0.5,
    "composition": "neighbours",
    "cache_dtype": "float16",
    "shape": [36, 59, 43],
    "image": "ab",
}
GEOMETRY = Geometry("SimpleITKIO", (36, 59, 43), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
CASE = CaseProperties(
    "a", GEOMETRY, (36, 59, 43), ((0, 36), (0, 59), (0, 43)), (36, 59, 43), (36, 59, 43), ((0.0, 1.0),), "ab", None, {}
)


def test_signatures_are_equal_under_the_old_file_and_when_it_is_planned_again(tmp_path: Path) -> None:
    path = tmp_path / "samunetPlans.json"
    path.write_text(json.dumps(FIRST))
    old = Plans.load(path)
    section = old.for_encoder("mini-3")
    again = replace(
        old,
        unet=plan_unet(old.dataset, 3, 2),
        encoders={"mini-3": replace(section, hybrid=plan_hybrid(old.dataset, section))},
    )
    again.save(path)
    for plans in (old, Plans.load(path)):
        expected = planned_signature(CASE, plans.dataset, plans.for_encoder("mini-3"))
        assert difference(expected, SIGNATURE) is None
        assert set(expected) == {*SIGNATURE, "intensity_limits"}
