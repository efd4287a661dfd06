"""Bad input: what stands on the command line, and checkpoints that it names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from tests.faults.entry import Check, Entry, anything
from tests.faults.place import Place

HUGE = "1" + "0" * 30
COUNTS = ("nan", "inf", "-1", "0", "1.5", "x", "", HUGE, "1e3")  # bad where a number from 1 on is meant
SIZES = ("nan", "inf", "-inf", "-1", "0", "x", "", "1e400")  # bad where a number above 0 is meant


def _nothing(place: Place) -> None:
    """Change no file: the command line is what is bad."""


def _flagged(base: tuple[str, ...], flag: str, values: tuple[str, ...], words: tuple[str, ...] = (),
             check: Check | None = None) -> list[Entry]:
    """One entry for each value of a flag. A message must name the flag, or say what it is of."""
    named = words or (flag,)
    return [Entry("flag", f"{base[0]} {flag} {value[:12] or '(nothing)'}", _nothing,
                  ((*base, *((f"{flag}={value}",) if flag.startswith("--") else (flag, value))),), named, check)
            for value in values]


def _flags() -> list[Entry]:
    encoder = ("--encoder", "small.safetensors")
    train = ("train", "5", "probe", "0", *encoder)
    zeroshot = ("train", "5", "sam_zeroshot", "0", "--oracle_prompts", "box3d", *encoder)
    plan = ("plan_and_preprocess", "-d", "5", "--no_embeddings", "-np", "1")
    predict = ("predict", "-i", "in", "-o", "out_new", "-d", "5")
    short = (*train, "--iterations", "1")
    made = [*_flagged(train, "--iterations", COUNTS, ("iterations",)),
            *_flagged(train, "--epochs", COUNTS, ("epochs|iterations",)),
            *_flagged(train, "--minutes", SIZES, ("minutes",)), *_flagged(short, "--shots", COUNTS, ("shots",)),
            *_flagged(short, "--shots", ("5",), ("shots",)),
            *_flagged(short, "--draw", ("-1", "1.5", "x", "nan", ""), ("draw",)),
            *_flagged(short, "--shot_slices", COUNTS[:-2], ("slices",)),
            *_flagged(short, "--seed", ("-1", "1.5", "x", "nan", ""), ("seed",)),
            *_flagged(short, "-num_gpus", ("0", "-1", "x", "1.5"), ("num_gpus",)),
            *_flagged(short, "-np", COUNTS[:-2], ("-np",)),
            *_flagged(zeroshot, "--box_relax", ("nan", "inf", "-1", "x", "1e400"), ("relax",)),
            *_flagged(zeroshot, "--box_relax", ("1e30",), ("relax",), anything),
            *_flagged(plan, "-gpu_memory_target", SIZES, ("gpu_memory_target|memory",)),
            *_flagged(plan, "-np", COUNTS[:-2], ("-np",)), *_flagged(predict, "-step_size", SIZES, ("step_size",)),
            *_flagged(predict, "-step_size", ("1.01", "1e-30"), ("step_size",)),
            *_flagged(predict, "-num_parts", COUNTS[:-2], ("num_parts",)),
            *_flagged(predict, "-part_id", ("-1", "1", "x", "1.5", HUGE), ("part_id",)),
            *_flagged(predict, "-f", ("9", "-1", "x", "", "../fold_0"), ("fold|-f",)),
            *_flagged(predict, "--shots", COUNTS[:-2], ("shots",)),
            *_flagged(predict, "--draw", ("-1", "x", "nan"), ("draw",)),
            *_flagged(("plot_overlay_pngs", "-d", "5", "-o", "png", "-np", "1"), "-channel_idx",
                      ("-1", "1", "x", "1.5", HUGE), ("channel",)),
            *_flagged(("find_best_configuration", "5", *encoder), "--minutes", SIZES, ("minutes",)),
            *_flagged(("find_best_configuration", "5", *encoder), "--iterations", COUNTS, ("iterations",)),
            *_flagged(("find_best_configuration", "5", *encoder), "--seed", ("-1", "x"), ("seed",)),
            *_flagged(("find_best_configuration", "5", "--iterations", "1", *encoder), "--shots", COUNTS[:-2],
                      ("shots",)),
            *_flagged(("benchmark", "-d", "5", "--variants", "label_prior", "--folds", "0", *encoder), "--draws",
                      COUNTS[:-2], ("draws",)),
            *_flagged(("benchmark", "-d", "5", "--variants", "label_prior", *encoder), "--folds",
                      ("9", "-1", "x", "1.5"), ("fold",)),
            *_flagged(("benchmark", "-d", "5", "--variants", "label_prior", "--folds", "0", *encoder), "--shots",
                      COUNTS[:-2], ("shots",)),
            *_flagged(("benchmark", "-d", "5", "--variants", "probe", "--folds", "0", *encoder), "--iterations", COUNTS,
                      ("iterations",)),
            *_flagged(("benchmark", "-d", "5", "--variants", "probe", "--folds", "0", *encoder), "--minutes_head",
                      SIZES, ("minutes",)),
            *_flagged(("benchmark", "-d", "5", "--variants", "label_prior", "--folds", "0", *encoder), "--workers",
                      COUNTS[:-2], ("workers",)),
            *_flagged(("benchmark", "-d", "5", "--variants", "label_prior", "--folds", "0", *encoder), "--seed",
                      ("-1", "x"), ("seed",)),
            *_flagged(("pretrain_encoder", "-o", "encoder"), "--phases",
                      ("0:1:1", "64:0:1", "64:1:0", "64:1", "x", "64:1:1:all:all", "-64:1:1", "65:1:1", "64:nan:1",
                       f"64:1:{HUGE}"), ("phase|size|steps|families",)),
            *_flagged(("pretrain_encoder", "-o", "encoder"), "--seed", ("-1", "x", "1.5"), ("seed",))]
    for value in SIZES:
        made.append(Entry("flag", f"plan -overwrite_target_spacing {value or '(nothing)'}", _nothing,
                          ((*plan, "-overwrite_target_spacing", "1", value, "1"),),
                          ("overwrite_target_spacing|spacing",)))
    for value in ("1e9", "1e-9"):
        made.append(Entry("flag", f"plan -overwrite_target_spacing {value}", _nothing,
                          ((*plan, "-overwrite_target_spacing", value, value, value),), ("spacing",)))
    return made


NAMES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "an unknown dataset": (("plan_and_preprocess", "-d", "77"), ("77",)),
    "a dataset of text": (("plan_and_preprocess", "-d", "x"), ("x",)),
    "a dataset of nothing": (("plan_and_preprocess", "-d", ""), ("dataset",)),
    "a dataset's path": (("plan_and_preprocess", "-d", "../raw/Dataset005_Tiny"), ("raw/Dataset005_Tiny",)),
    "a dataset of -5": (("train", "-5", "probe", "0"), ("-5|argument|arguments",)),
    "a dataset of superscript": (("plan_and_preprocess", "-d", "\u00b2"), ("\u00b2",)),
    "a dataset of Arabic digits": (("plan_and_preprocess", "-d", "\u0667"), ("dataset",)),
    "an unknown dataset to train": (("train", "77", "probe", "0"), ("77",)),
    "an unknown variant": (("train", "5", "cnn_hat", "0"), ("cnn_hat", "cnn_head")),
    "a variant of nothing": (("train", "5", "", "0"), ("cnn_head",)),
    "an unknown fold": (("train", "5", "label_prior", "9", "-np", "1", "--encoder", "small.safetensors"), ("9",)),
    "a fold of text": (("train", "5", "label_prior", "x", "--encoder", "small.safetensors"), ("fold",)),
    "a fold of -1": (("train", "5", "label_prior", "-1", "--encoder", "small.safetensors"), ("-1|fold|arguments",)),
    "a fold of superscript": (("train", "5", "label_prior", "\u00b2", "--encoder", "small.safetensors"), ("fold",)),
    "a fold of 30 digits":
        (("train", "5", "label_prior", HUGE, "-np", "1", "--encoder", "small.safetensors"), ("fold|splits",)),
    "unknown plans":
        (("train", "5", "label_prior", "0", "-p", "noPlans", "--encoder", "small.safetensors"), ("noPlans",)),
    "plans with a path": (
        ("train", "5", "label_prior", "0", "-p", "../Dataset005_Tiny/samunetPlans", "--encoder", "small.safetensors"),
        ("plans",),
    ),
    "plans of nothing": (("plan_and_preprocess", "-d", "5", "-plans_name", ""), ("plans",)),
    "plans named like the splits":
        (("plan_and_preprocess", "-d", "5", "-plans_name", "splits_final"), ("splits_final",)),
    "plans with two underscores": (("plan_and_preprocess", "-d", "5", "-plans_name", "a__b"), ("a__b",)),
    "plans with a NUL": (("plan_and_preprocess", "-d", "5", "-plans_name", "a\0b"), ("plans",)),
    "plans of 300 letters":
        (("plan_and_preprocess", "-d", "5", "--no_embeddings", "-np", "1", "-plans_name", "p" * 300), ("p" * 300,)),
    "an unknown encoder": (("train", "5", "probe", "0", "--encoder", "vit_x"), ("vit_x",)),
    "an encoder's family": (("train", "5", "probe", "0", "--encoder", "mini@x"), ("x",)),
    "an unknown device": (
        ("train", "5", "label_prior", "0", "-device", "tpu7", "-np", "1", "--encoder", "small.safetensors"), ("tpu7",),
    ),
    "a device that is not there": (
        ("train", "5", "label_prior", "0", "-device", "cuda:77", "-np", "1", "--encoder", "small.safetensors"),
        ("cuda",),
    ),
    "a device of nothing to predict":
        (("predict", "-i", "in", "-o", "out_new", "-d", "5", "-device", "tpu7"), ("tpu7",)),
    "a support file for a variant without":
        (("train", "5", "label_prior", "0", "--support", "x.json", "--encoder", "small.safetensors"), ("support",)),
    "prompts for a variant without":
        (("train", "5", "label_prior", "0", "--prompts", "x.json", "--encoder", "small.safetensors"), ("prompt",)),
    "no such prompts": (
        ("train", "5", "sam_zeroshot", "0", "--prompts", "x.json", "-np", "1", "--encoder", "small.safetensors"),
        ("x.json",),
    ),
    "relaxed boxes without an oracle":
        (("train", "5", "sam_zeroshot", "0", "--box_relax", "5", "--encoder", "small.safetensors"), ("relax|prompt",)),
    "a run to continue that is not there":
        (("train", "5", "linear_head", "0", "--c", "-np", "1", "--encoder", "small.safetensors"), ("linear_head",)),
    "a run to validate that is not there":
        (("train", "5", "linear_head", "0", "--val", "-np", "1", "--encoder", "small.safetensors"), ("linear_head",)),
    "transport of another variant": (("train", "5", "probe", "0", "--transport", "off"), ("transport",)),
    "an unknown model": (("predict", "-i", "in", "-o", "out_new", "-m", "nowhere"), ("nowhere",)),
    "no such images": (("predict", "-i", "nowhere", "-o", "out_new", "-d", "5", "-v", "label_prior"), ("nowhere",)),
    "a groups pattern without a group":
        (("plan_and_preprocess", "-d", "5", "--groups", "c", "--no_embeddings", "-np", "1"), ("groups",)),
    "a groups pattern that is none":
        (("plan_and_preprocess", "-d", "5", "--groups", "(c", "--no_embeddings", "-np", "1"), ("groups",)),
    "a groups file that is not there":
        (("plan_and_preprocess", "-d", "5", "--groups", "no.csv", "--no_embeddings", "-np", "1"), ("no.csv",)),
    "no such references": (("evaluate_folder", "nowhere", "out", "-djfile", "nowhere.json"), ("nowhere",)),
    "a summary of another ending": (
        ("evaluate_folder", "raw/Dataset005_Tiny/labelsTs", "out", "-djfile", "raw/Dataset005_Tiny/dataset.json", "-o",
         "out/x.txt"),
        ("x.txt|.json",),
    ),
    "no such model to click on":
        (("evaluate_clicks", "-m", "nowhere", "-i", "in", "-gt", "in", "-o", "clicks.json"), ("nowhere",)),
    "no click at all": (
        ("evaluate_clicks", "-m", "nowhere", "-i", "in", "-gt", "in", "-o", "clicks.json", "--clicks", "0"), ("clicks",)
    ),
    "prune's flags for list": (("cache", "list", "--all"), ("--all",)),
    "an unknown action": (("cache", "burn"), ("burn",)),
    "-i without -s": (("plot_overlay_pngs", "-i", "in", "-o", "png"), ("-s",)),
    "a loss left out that is none": (("pretrain_encoder", "-o", "encoder", "--without", "x"), ("x",)),
    "a benchmark of no variant": (("benchmark", "-d", "5", "--variants", "x"), ("x",)),
    "candidates that are none": (("find_best_configuration", "-d", "5", "--variants", "x"), ("x",)),
    "a reference that was not run":
        (("benchmark", "-d", "5", "--variants", "label_prior", "--folds", "0", "--reference", "x"), ("x",)),
}


def _weights(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Place], None]:
    """Rewrite the final checkpoints of all models, with digests of their own, as a person or another tool would."""

    def make(place: Place) -> None:
        from safetensors.torch import load_file, save_file

        for path in place.root.glob("results/*/*/fold_0/checkpoint_final.safetensors"):
            save_file({name: tensor.contiguous() for name, tensor in change(load_file(path)).items()}, path)

    return make


def _bytes(change: Callable[[bytes], bytes]) -> Callable[[Place], None]:
    def make(place: Place) -> None:
        for path in place.root.glob("results/*/*/fold_0/checkpoint_final.safetensors"):
            path.write_bytes(change(path.read_bytes()))

    return make


def _checkpoints() -> list[Entry]:
    nan, models = float("nan"), ("predict", "predict_probe", "validate")
    tensors: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
        "NaN": lambda state: {name: tensor * nan for name, tensor in state.items()},
        "infinite": lambda state: {name: tensor / 0 for name, tensor in state.items()},
        "one NaN": lambda state: {name: _first(tensor, nan) for name, tensor in state.items()},
        "a row of each tensor": lambda state: {name: tensor[:1] for name, tensor in state.items()},
        "flat tensors": lambda state: {name: tensor.reshape(-1) for name, tensor in state.items()},
        "other names": lambda state: {f"x.{name}": tensor for name, tensor in state.items()},
        "no tensor": lambda state: {}, "one tensor less": lambda state: dict(list(state.items())[1:]),
        "one tensor more": lambda state: {**state, "wish": next(iter(state.values()), torch.zeros(1)).clone()},
        "float64": lambda state: {name: tensor.double() for name, tensor in state.items()},
        "whole numbers": lambda state: {name: tensor.long() for name, tensor in state.items()},
    }
    files: dict[str, Callable[[bytes], bytes]] = {
        "an empty file": lambda content: b"", "half of the file": lambda content: content[: len(content) // 2],
        "zeros": lambda content: bytes(len(content)),
        "a header of 2**60 bytes": lambda content: (2**60).to_bytes(8, "little") + content[8:],
        "a pickle": lambda content: b"\x80\x02}q\x00." + content, "text": lambda content: b"not weights",
        "a byte more": lambda content: content + b"\0",
        "a header that is no JSON": lambda content: content[:8] + b"!" + content[9:],
    }
    named = ("checkpoint_final",)
    made = [Entry("checkpoint", name, _weights(change), models, named, None) for name, change in tensors.items()]
    made += [Entry("checkpoint", name, _bytes(change), models, named) for name, change in files.items()]
    made.append(Entry("checkpoint", "none",
                      lambda place: [path.unlink()
                                     for path in place.root.glob("results/*/*/fold_0/checkpoint_final.safetensors")],
                      models, ("checkpoint_final|fold_0",)))
    for name, content in {"an empty file": b"", "text": b"not weights", "a pickle": b"\x80\x02}q\x00."}.items():
        for flag, words in (("-pretrained_weights", ("given",)), ("--encoder", ("given",))):
            made.append(Entry("checkpoint", f"{flag}: {name}",
                              lambda place, content=content: place.path("given.safetensors").write_bytes(content),
                              (("train", "5", "probe", "0", "--iterations", "1",
                                *(() if flag == "--encoder" else ("--encoder", "small.safetensors")), flag,
                                "given.safetensors"),), words))
    return made


def _first(tensor: Any, value: float) -> Any:
    tensor = tensor.clone()
    tensor.reshape(-1)[0] = value
    return tensor


def entries() -> list[Entry]:
    """All entries of this file."""
    made = [Entry("flag", name, _nothing, (command,), words, None) for name, (command, words) in NAMES.items()]
    return [*_flags(), *made, *_checkpoints()]
