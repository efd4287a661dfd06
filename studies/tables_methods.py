"""Tables of the studies on single methods: `fewshot`, `hybrid`, adapters and what neighbouring slices are worth."""

from __future__ import annotations

from typing import Any

from table_format import code, last, markdown, records, signed

FORMS = {
    "3d_adapter": "`3d_adapter`",
    "3d_adapter_alone": "`3d_adapter` with kernel (1, 1, 1)",
    "3d_adapter_published": "the published decoder",
    "3d_adapter_zero": "adapters that begin at zero",
    "3d_adapter_depthwise": "a depthwise convolution",
    "3d_adapter_lora": "LoRA",
    "hybrid_no_embeddings": "embeddings all zero",
    "hybrid_no_image": "image all zero, embeddings alone",
    "hybrid_off, untrained encoder": "embeddings of an untrained encoder",
}
TARGETS = {
    "unchanged": "float32 patients as they are",
    "uint8": "uint8 patients",
    "inverted": "inverted contrast",
    "thick": "3 mm slices",
    "bias": "bias field",
    "noise": "noise",
}


def _form(name: str) -> str:
    return FORMS.get(name, f"`{name}`")


def _gain(gain: list[float]) -> str:
    mean, low, high = gain
    return signed({"mean": mean, "low": low, "high": high}) if gain != [0.0, 0.0, 0.0] else ""


def fewshot_claims() -> str:
    return markdown(
        ["claim", "metric", "means", "difference", "fixed before", ""],
        [
            [
                row["claim"],
                row["metric"],
                " and ".join(f"{mean:.3f}" for mean in row["means"]),
                signed(row["difference"]),
                row["asked"],
                "holds" if row["holds"] else "missed",
            ]
            for row in last("fewshot_claims")["rows"]
        ],
    )


def hybrid_parts() -> str:
    rows = last("hybrid_ablations")["rows"]
    return markdown(
        ["", "Dice", "over `hybrid_off`"],
        [[_form(name), f"{row['dice']:.3f}", _gain(row["gain"])] for name, row in rows.items()],
    )


def adapter_options() -> str:
    rows = last("adapter_options")["rows"]
    return markdown(
        ["", "Dice", "over `3d_adapter`", "training s", "trained values"],
        [
            [
                _form(name),
                f"{row['dice']:.3f}",
                _gain(row["gain"]),
                f"{row['train_seconds']:.0f}",
                f"{row['trainable_parameters']:,}",
            ]
            for name, row in rows.items()
        ],
    )


def slice_context() -> str:
    return markdown(
        ["variant", "Dice on 10 held-out cases", "iterations", "training s, one thread"],
        [
            [_form(name), f"{row['dice']:.3f}", row["iterations"], f"{row['train_seconds']:.0f}"]
            for name, row in last("slice_context")["rows"].items()
        ],
    )


def instruments() -> str:
    return markdown(
        [
            "variant",
            "Dice on 10 unseen videos",
            "less than `3d_adapter` by",
            "on the 9 validation videos",
            "training s, one thread",
        ],
        [
            [
                _form(name),
                f"{row['test_dice']:.3f}",
                _behind(row["behind_the_first"]),
                f"{row['dice']:.3f}",
                f"{row['train_seconds']:.0f}",
            ]
            for name, row in last("instruments")["rows"].items()
        ],
    )


def _behind(behind: list[float]) -> str:
    mean, low, high = behind
    return f"{mean:.3f} [{low:.3f}, {high:.3f}]" if mean else ""


def tumour_boxes() -> str:
    """A row for each method; boxes are tight or relaxed by 5 and 10 %, of the brighter and the fainter core."""
    of_core = [record["rows"] for record in records("tumour_boxes", "a383c7c")]
    methods = {
        "3d_adapter": "`3d_adapter`, no box",
        "3d_adapter_box": "`3d_adapter_box`",
        "inscribed ellipsoid": "the ellipsoid in the box, no image",
        "unet, box as a channel": "`unet` with the box as a channel",
    }
    kinds = (" (oracle box3d)", " (oracle box3d relaxed 5 %)", " (oracle box3d relaxed 10 %)")
    cells = []
    for method, title in methods.items():
        keys = (method, "", "") if method == "3d_adapter" else tuple(method + kind for kind in kinds)
        cells.append([title, *(_dice(rows.get(key)) for rows in of_core for key in keys)])
    return markdown(["", "core 8: tight box", "5 %", "10 %", "core 4: tight box", "5 %", "10 %"], cells)


def _dice(row: dict[str, Any] | None) -> str:
    return f"{row['dice']:.3f}" if row else ""


def domain_shift() -> str:
    """`3d_adapter` is the later record's, the others the earlier's."""
    dice = {}
    for record in records("domain_shift"):
        for row in record["rows"]:
            dice |= {(row["method"], row["labelled"], target): value for target, value in row["dice"].items()}
    methods = ("3d_adapter", "unet", "nnunet_2d")
    header = [
        "target",
        *(
            f"{code(method)}, {labelled or 'no'} case{'s' * (labelled != 1)}"
            for labelled in (0, 1, 5)
            for method in methods
        ),
    ]
    return markdown(
        header,
        [
            [title, *(f"{dice[method, labelled, target]:.3f}" for labelled in (0, 1, 5) for method in methods)]
            for target, title in TARGETS.items()
        ],
    )


def unet_against_nnunet() -> str:
    record = last("unet_against_nnunet")
    return markdown(
        ["", "mean Dice", "each run", "seconds an iteration", "of a processor"],
        [
            [
                code(name),
                f"{mean:.3f}",
                ", ".join(f"{run['dice']:.3f}" for run in record["rows"][name]),
                f"{record['seconds'][name]['iteration_seconds']:.2f}",
                f"{record['seconds'][name]['iteration_processor_seconds']:.3f}",
            ]
            for name, mean in record["mean_dice"].items()
        ],
    )


def window_step() -> str:
    """Means over the cases of each dataset, a row for each step; differences from the first are of the same cases."""
    cells = []
    for dataset in sorted({record["dataset"] for record in records("window_step")}):
        cases = [record["steps"] for record in records("window_step") if record["dataset"] == dataset]
        for step in cases[0]:
            mean = {name: sum(case[step][name] for case in cases) / len(cases) for name in cases[0][step]}
            gains = [case[step]["dice"] - case["0.5"]["dice"] for case in cases]
            spread = f"{sum(gains) / len(gains):+.3f} ({min(gains):+.3f} to {max(gains):+.3f})"
            cells.append([dataset, len(cases), step, f"{mean['windows']:.1f}", f"{mean['seconds']:.1f}",
                          f"{mean['dice']:.3f}", spread])
    titles = ["dataset", "cases", "step", "windows a case", "processor s a case", "Dice", "over 0.5 (single cases)"]
    return markdown(titles, cells)


TABLES = {
    "window step": window_step,
    "fewshot claims": fewshot_claims,
    "hybrid parts": hybrid_parts,
    "adapter options": adapter_options,
    "slice context": slice_context,
    "instruments": instruments,
    "tumour boxes": tumour_boxes,
    "domain shift": domain_shift,
    "unet against nnunet": unet_against_nnunet,
}
