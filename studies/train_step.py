"""A training step of `unet` and `unet_3d` beside one of nnU-Net's own trainer: equal network, patch and batch.

    python studies/train_step.py --output studies/results/train_step.jsonl
    python studies/train_step.py --device cuda --shape 160 256 256 --rounds 20
    python studies/train_step.py --variants unet --shape 8 24 20 --rounds 2

The plan is samunet's for volumes of --shape voxels (z, y, x) of 1 mm, one channel and --classes classes; nnU-Net's
`nnUNetTrainer` gets a plans file of the same topology, patch and batch; the number of weights must be equal. Steps of
both take turns on the same batch of noise, whose loss must stay finite (ours is larger by 1, since it has 1 - Dice
where nnU-Net's has -Dice): forward, loss with deep supervision, backward, clipped gradient, SGD. Reading and
augmentation are no part of it; the targets of the coarser stages are made in ours and given to nnU-Net's, whose data
loader makes them. Each computes in the number type of its own training, which is printed. nnU-Net compiles its network
on a GPU unless the environment variable nnUNet_compile is f.

Given are steps a second of the median step, processor seconds of a step, and our rate over nnU-Net's.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from record import append, facts
from torch import Tensor

from samunet.dataset.labels import LabelSpace
from samunet.planning.plans import DatasetPlan, EncoderPlan
from samunet.planning.sections import UnetPlan
from samunet.planning.unet_rules import CONVOLUTIONS, plan_unet
from samunet.training.trainer import Optimization
from samunet.variants.base import VariantContext
from samunet.variants.unet import UnetVariant
from samunet.variants.unet_3d import Unet3dVariant

KINDS = {"unet": (UnetVariant, 2, "2d"), "unet_3d": (Unet3dVariant, 3, "3d_fullres")}
PLACES = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
NAME = "Dataset999_Step"
RATE = 1e-2
Step = Callable[[], float]


def main() -> None:
    options = parsed()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as work:
        # nnU-Net reads them when it is imported, and writes its log there.
        os.environ.update({place: str(Path(work) / place) for place in PLACES})
        (Path(work) / "nnUNet_preprocessed" / NAME / "data").mkdir(parents=True)
        (Path(work) / "nnUNet_preprocessed" / NAME / "data" / "case.b2nd").touch()  # says how cases are stored
        rows = {variant: measured(variant, options) for variant in options.variants}
    print("| variant | patch | batch | ours, steps/s | nnU-Net, steps/s | ratio | processor s, ours | nnU-Net |")
    print("|---|---|---|---|---|---|---|---|")
    for variant, row in rows.items():
        print(f"| `{variant}`, {row['dtype']} | {'x'.join(map(str, row['patch']))} | {row['batch']} | "
              f"{row['ours']['rate']:.3g} | {row['theirs']['rate']:.3g} | {row['ratio']:.2f} | "
              f"{row['ours']['processor']:.2f} | {row['theirs']['processor']:.2f} |")
    append(options.output, facts() | {
        "device": torch.cuda.get_device_name() if options.device == "cuda" else "cpu", "threads": options.threads,
        "shape": options.shape, "rounds": options.rounds, "load": os.getloadavg()[0],
        "compile": os.environ.get("nnUNet_compile", ""), "rows": rows})


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--shape", type=int, nargs=3, default=(36, 50, 35), help="median voxels (default: hippocampus)")
    parser.add_argument("--classes", type=int, default=3, help="with background")
    parser.add_argument("--rounds", type=int, default=5, help="steps of each, after one that does not count")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--output", type=Path, help="a JSON line is appended")
    return parser.parse_args()


def measured(variant: str, options: argparse.Namespace) -> dict[str, Any]:
    """Rates of one variant and of nnU-Net's configuration of the same kind."""
    kind, dimensions, configuration = KINDS[variant]
    labels = LabelSpace({"background": 0, **{f"organ{value}": value for value in range(1, options.classes)}})
    dataset = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (1.0, 1.0, 1.0), tuple(options.shape), False, ("MRI",),
                          ("zscore",), (False,), ({},))
    section = EncoderPlan("untrained", 64, (32, 32), 0.5, "repeat", 4, "float16", 0, 1)
    plan = plan_unet(dataset, labels.channels, dimensions)
    optimization = Optimization(kind(VariantContext(labels, dataset, section, {}, unet_plan=plan)),
                                torch.device(options.device))
    trainer = nnunet_trainer(plan, configuration, options)
    weights = [sum(each.numel() for each in network.parameters())
               for network in (optimization.variant.network, trainer.network)]
    if weights[0] != weights[1]:
        sys.exit(f"{variant}: {weights[0]} weights, nnU-Net's network has {weights[1]}")
    images = torch.randn(plan.batch_size, 1, *plan.patch)
    segmentation = torch.randint(0, options.classes, (plan.batch_size, *plan.patch))
    batch = {"data": images, "target": targets(segmentation, trainer)}
    steps: dict[str, Step] = {"ours": lambda: optimization.step(images, segmentation, RATE),
                              "theirs": lambda: float(trainer.train_step(batch)["loss"])}
    found = in_turn(steps, options.rounds)
    return {"patch": plan.patch, "batch": plan.batch_size, "weights": weights[0],
            "dtype": str(optimization.dtype).removeprefix("torch."), **found,
            "ratio": found["ours"]["rate"] / found["theirs"]["rate"]}


def in_turn(steps: dict[str, Step], rounds: int) -> dict[str, dict[str, float]]:
    """Steps a second of the median round, processor seconds of the mean one, and the last loss. Both losses come from
    the device, which ends the step there."""
    clocks: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    losses = {}
    for _ in range(rounds + 1):
        for name, step in steps.items():
            wall, processor = time.perf_counter(), time.process_time()
            losses[name] = step()
            clocks[name].append((time.perf_counter() - wall, time.process_time() - processor))
            if not math.isfinite(losses[name]):
                sys.exit(f"{name}: the loss is {losses[name]}")
    return {name: {"rate": 1 / median(wall for wall, _ in taken[1:]),
                   "processor": sum(used for _, used in taken[1:]) / rounds, "loss": losses[name]}
            for name, taken in clocks.items()}


def nnunet_trainer(plan: UnetPlan, configuration: str, options: argparse.Namespace) -> Any:
    """nnU-Net's trainer of the plan's network, ready for steps."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    stages, flat = len(plan.strides), len(plan.patch) == 2
    kind = "2d" if flat else "3d"
    plans = {
        "dataset_name": NAME, "plans_name": "nnUNetPlans", "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2], "transpose_backward": [0, 1, 2], "label_manager": "LabelManager",
        "continue_training": False, "foreground_intensity_properties_per_channel": {},
        "configurations": {configuration: {
            "data_identifier": "data", "batch_size": plan.batch_size, "patch_size": list(plan.patch),
            "spacing": [1.0] * len(plan.patch), "batch_dice": flat,
            "architecture": {
                "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
                "arch_kwargs": {
                    "n_stages": stages, "features_per_stage": list(plan.widths),
                    "conv_op": f"torch.nn.modules.conv.Conv{kind}",
                    "kernel_sizes": [list(each) for each in plan.kernels],
                    "strides": [list(each) for each in plan.strides], "n_conv_per_stage": [CONVOLUTIONS] * stages,
                    "n_conv_per_stage_decoder": [CONVOLUTIONS] * (stages - 1), "conv_bias": True,
                    "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{kind}",
                    "norm_op_kwargs": {"eps": 1e-5, "affine": True}, "dropout_op": None, "dropout_op_kwargs": None,
                    "nonlin": "torch.nn.LeakyReLU", "nonlin_kwargs": {"inplace": True}},
                "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"]}}}}
    names = {"background": 0, **{f"organ{value}": value for value in range(1, options.classes)}}
    trainer = nnUNetTrainer(plans, configuration, 0, {"channel_names": {"0": "MRI"}, "labels": names,
                                                      "file_ending": ".nii.gz"}, torch.device(options.device))
    torch.set_num_threads(options.threads)  # nnU-Net sets its own on a processor
    trainer.initialize()
    trainer.network.train()
    return trainer


def targets(segmentation: Tensor, trainer: Any) -> list[Tensor]:
    """The labels (B, 1, ...) of each of the stages that have a loss, finest first."""
    shown = segmentation[:, None].float()
    return [torch.nn.functional.interpolate(shown, scale_factor=tuple(scale), mode="nearest-exact")
            for scale in trainer._get_deep_supervision_scales()]


if __name__ == "__main__":
    main()
