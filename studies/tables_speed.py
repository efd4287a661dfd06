"""Tables of the studies on speed and memory."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import mean
from typing import Any

from table_format import code, last, markdown, records

from samunet.evaluation.statistics import paired_differences, paired_interval


def encoder_speed() -> str:
    """Every rate that was measured, oldest first; the last record is of a quiet machine with bfloat16."""
    return markdown(
        [
            "encoder",
            "input",
            "type",
            "batch",
            "segment-anything",
            "samunet",
            "ratio",
            "over segment-anything's float32",
            "cosine",
            "share of the peak",
            "commit",
        ],
        [_speed(row, record["commit"]) for record in records("encoder_speed") for row in record["rows"]],
    )


def _speed(row: dict[str, Any], commit: str) -> list[str]:
    rate = row["images_per_second"]
    share = row.get("peak_share", {}).get("ours")
    return [
        code(row["encoder"]),
        row["input_size"],
        row["dtype"],
        row["batch"],
        f"{rate['theirs']:.3g}",
        f"{rate['ours']:.3g}",
        f"{row['ratio']:.2f}",
        f"{rate['ours'] / rate['theirs_float32']:.2f}",
        f"{row['cosine']:.7f}",
        f"{share:.2f}" if share else "",
        f"`{commit[:7]}`",
    ]


def cache_speed() -> str:
    return markdown(
        ["encoder, input, batch", "head", "cached", "in the loop", "ratio"],
        [
            [
                f"{code(row['encoder'])}, {row['input_size']}, {row['batch']}",
                code(row["head"]),
                f"{row['cached']:.3g}",
                f"{row['in_loop']:.2g}",
                f"{row['ratio']:.3g}",
            ]
            for record in records("cache_speed")
            for row in record["rows"]
        ],
    )


def training_speed() -> str:
    return markdown(
        ["", "float32 s", "bfloat16 s", "ratio", "commit"],
        [
            [
                code(name),
                *(f"{seconds:.3f}" for seconds in row["seconds"]),
                f"{row['ratio']:.2f}",
                f"`{record['commit'][:7]}`",
            ]
            for record in records("training_speed")
            for name, row in record["rows"].items()
        ],
    )


def adapter_memory() -> str:
    cells = []
    for record in records("adapter_memory"):
        for row in record["rows"]:
            encoder, side, _, stacks, checkpointed = row["setting"].split(":")
            error = row["expected_gb"] / row["measured_gb"] - 1
            cells.append(
                [
                    f"{code(encoder)}, {side}",
                    stacks,
                    "yes" if checkpointed == "1" else "no",
                    f"{row['measured_gb']:.2f} GB",
                    f"{row['expected_gb']:.2f} GB",
                    f"{error:+.1%}",
                    f"`{record['commit'][:7]}`",
                ]
            )
    return markdown(
        ["encoder, input", "stacks in one pass", "blocks computed twice", "measured", "expected", "error", "commit"],
        cells,
    )


def patch3d_memory() -> str:
    cells = []
    for row in last("patch3d_memory")["rows"]:
        encoder, patch, token, _, checkpointed = row["setting"].split(":")
        cells.append([code(encoder), patch.replace(",", " x "), token.replace(",", " x "),
                      "yes" if checkpointed == "1" else "no", f"{row['measured_gb']:.2f} GB",
                      f"{row['expected_gb']:.2f} GB", f"{row['expected_gb'] / row['measured_gb'] - 1:+.1%}"])
    return markdown(["encoder", "patch", "token", "blocks computed twice", "measured", "expected", "error"], cells)


def merged_inference() -> str:
    return markdown(
        ["commit", "merged s", "unmerged s", "largest difference of logits"],
        [
            [
                f"`{record['commit'][:7]}`",
                *(f"{record['median_seconds'][kind]:.2f}" for kind in ("merged", "unmerged")),
                f"{record['largest_difference']:.0e}",
            ]
            for record in records("merged_inference")
        ],
    )


def check_cost() -> str:
    return markdown(
        ["step", "before, processor s", "with checks, processor s", "ratio"],
        [
            [name, f"{step['before_seconds']:.1f}", f"{step['after_seconds']:.1f}", f"{step['ratio']:.2f}"]
            for name, step in last("check_cost")["steps"].items()
        ],
    )


def preprocess_speed() -> str:
    """Whole commands, one row for each record."""
    rows = []
    for record in records("preprocess_speed"):
        ours, theirs = (record["costs"][name] for name in ("samunet", "nnunet"))
        what = f"{record['volumes']} synthetic CT of {'x'.join(map(str, record['size']))}" if record["volumes"] else (
            f"{record['same']['cases']} cases of {record['dataset']}")
        rows.append([what, record["workers"], record["cores"], f"{ours['wall']:.1f}", f"{theirs['wall']:.1f}",
                     f"{ours['wall'] / theirs['wall']:.2f}", f"{ours['memory'] / 1e9:.2f}",
                     f"{theirs['memory'] / 1e9:.2f}", f"{ours['memory'] / theirs['memory']:.2f}"])
    return markdown(["data", "processes", "cores", "samunet s", "nnU-Net s", "ratio", "samunet GB", "nnU-Net GB",
                     "ratio of memory"], rows)


def startup() -> str:
    return markdown(["command", "samunet s", "nnU-Net s", "ratio"],
                    [[code(name), f"{both['samunet'][0]:.2f}", f"{both['nnU-Net'][0]:.2f}",
                      f"{both['samunet'][0] / both['nnU-Net'][0]:.2f}"]
                     for name, both in last("startup")["seconds"].items()])


def predict_speed() -> str:
    """One row for each command of each record; rows of one case have no peer."""
    mirrored, plain = "nnU-Net, its default mirroring", "nnU-Net, --disable_tta"
    rows = []
    for record in records("predict_speed"):
        seconds = record["seconds"]
        for name, row in seconds.items():
            peers = ["", ""] if name.endswith("one case") else [
                f"{row['wall'] / seconds[peer]['wall']:.2f}" for peer in (mirrored, plain)]
            rows.append([record["dataset"], record["configuration"], record["cases"], name, f"{row['wall']:.1f}",
                         f"{row['processor']:.0f}", *peers, f"`{record['commit'][:7]}`"])
    return markdown(["dataset", "nnU-Net's configuration", "cases", "command", "s", "processor s",
                     "over mirroring", "over no mirroring", "commit"], rows)


def metrics_speed() -> str:
    return markdown(["voxels", "classes", "ours s", "surface-distance s", "ratio", "largest difference"],
                    [["x".join(map(str, record["size"])), record["classes"], f"{record['ours']['wall']:.2f}",
                      f"{record['theirs']['wall']:.2f}", f"{record['ratio']['wall']:.2f}",
                      f"{record['difference']:.0e}"] for record in records("metrics_speed")])


def export_speed() -> str:
    """One row for each record; nnU-Net's cells are empty where it was not measured."""
    rows = []
    for record in records("export_speed"):
        ours, theirs = record["rows"]["samunet"], record["rows"].get("nnunet")
        cells = [[f"{ours[part] / scale:.3g}", f"{theirs[part] / scale:.3g}" if theirs else "",
                  f"{ours[part] / theirs[part]:.2f}" if theirs else ""]
                 for part, scale in (("processor", 1), ("memory", 1e9))]
        rows.append(["x".join(map(str, record["size"])), record["classes"], f"{record['max_ram']:g}", *cells[0],
                     *cells[1], f"{record['floor']:.2f}",
                     "" if record["different"] is None else f"{record['different']:.1g}"])
    return markdown(["voxels", "classes", "limit, GB", "samunet, processor s", "nnU-Net, processor s", "ratio",
                     "samunet GB", "nnU-Net GB", "ratio of memory", "floor, s", "other labels"], rows)


def train_step() -> str:
    """One row for each variant of each record."""
    return markdown(
        ["", "number type", "device", "patch", "batch", "samunet, steps a second", "nnU-Net, steps a second", "ratio",
         "samunet, processor s", "nnU-Net, processor s"],
        [[code(variant), row["dtype"], record["device"], "x".join(map(str, row["patch"])), row["batch"],
          *(f"{row[name]['rate']:.3g}" for name in ("ours", "theirs")), f"{row['ratio']:.2f}",
          *(f"{row[name]['processor']:.2f}" for name in ("ours", "theirs"))]
         for record in records("train_step") for variant, row in record["rows"].items()])


def encoding_cost() -> str:
    """A row for each dataset and choice, beside the dataset's first; validation cases are of different patients."""
    jobs = records("encoding_cost")
    heads = [*dict.fromkeys(job["key"]["job"] for job in jobs if "dice" in job)]
    choices = {(job["key"]["dataset"], job["key"]["choice"]): job for job in jobs if "mb_per_case" in job}
    ordered = sorted(choices, key=lambda each: (each[0], -choices[each]["tokens_per_case"]))
    first = {dataset: choice for dataset, choice in reversed(ordered)}
    rows = []
    for dataset, choice in ordered:
        cost = choices[dataset, choice]
        seconds = mean(job["encode_seconds_per_case"] for job in jobs
                       if "mb_per_case" in job and (job["key"]["dataset"], job["key"]["choice"]) == (dataset, choice))
        row = [dataset, f"`{choice}`", f"{cost['voxels_per_token']:.1f}", f"{cost['tokens_per_case']:.0f}",
               f"{seconds:.2f}", f"{cost['mb_per_case']:.2f}"]
        for head in heads:
            row += _paired(*(_dice(jobs, dataset, each, head) for each in (choice, first[dataset])))
        rows.append(row)
    shown = [part for head in heads for part in (code(head), "difference")]
    return markdown(["dataset", "choice", "voxels a token", "tokens a case", "s a case", "MB a case", *shown], rows)


def _dice(jobs: list[dict[str, Any]], dataset: str, choice: str, head: str) -> dict[str, float]:
    """Case -> Dice of all folds, which have no validation case in common."""
    wanted = (dataset, choice, head)
    return {case: dice for job in jobs
            if (job["key"]["dataset"], job["key"]["choice"], job["key"]["job"]) == wanted
            for case, dice in job["dice"].items()}


def _paired(ours: Mapping[str, float], first: Mapping[str, float]) -> list[str]:
    """Mean Dice, and the difference from `first` on the cases that both have."""
    common = sorted(ours.keys() & first.keys())
    shown = f"{mean(ours.values()):.3f} ({len(ours)})" if ours else ""
    if not common or ours == first:
        return [shown, ""]
    both = ({case: dice[case] for case in common} for dice in (ours, first))
    return [shown, str(paired_interval([paired_differences(*both, None)]))]


TABLES = {
    "encoding cost": encoding_cost,
    "export speed": export_speed,
    "train step": train_step,
    "preprocess speed": preprocess_speed,
    "startup": startup,
    "predict speed": predict_speed,
    "metrics speed": metrics_speed,
    "encoder speed": encoder_speed,
    "cache speed": cache_speed,
    "training speed": training_speed,
    "adapter memory": adapter_memory,
    "patch3d memory": patch3d_memory,
    "merged inference": merged_inference,
    "check cost": check_cost,
}
