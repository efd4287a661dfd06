"""Images per second of our image encoder and of segment-anything's, with the same weights, in one run.

    python studies/encoder_speed.py --threads 2 --rounds 5 --output studies/results/encoder_speed.jsonl
    python studies/encoder_speed.py --encoders vit_b vit_h --input-sizes 1024 1024 --dtypes bfloat16 --batch 8 \\
        --device cuda

All take turns, round by round, so that what else the machine does meets them alike; rates are of median rounds.
`theirs` runs in the same number type as `ours`; `theirs_float32` is the plain encoder, at batch 1 on a GPU. The share
of the peak is the rate of the multiplications that the architecture needs (padding of windows is not among them) over
that of a large matrix product of the same type, the best of one after each round. A number type that the hardware only
emulates is left out, and the record says which and why. Appends one JSON line to --output, with the machine's load
before and after: rates of a busy machine are low, and only ratios of one line compare.
"""

from __future__ import annotations

import argparse
import copy
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from record import append, facts
from segment_anything.modeling import ImageEncoderViT
from torch import nn
from torch.nn.functional import cosine_similarity

from samunet.networks.attention import spans
from samunet.networks.image_encoder import fast_dtype
from samunet.networks.sam import ENCODER_SIZES, EncoderSize, build_image_encoder

PEAK_SIDE = {"cpu": 2048, "cuda": 8192}
# What a processor must have one of to multiply bfloat16 in hardware, and what it may have instead.
CPU_FLAGS = ("avx512_bf16", "amx_bf16", "avx512_f", "avx2")


def main() -> None:
    options = parsed()
    torch.set_num_threads(options.threads)
    load = os.getloadavg()[0]
    left_out = emulated(options.dtypes, options.device)
    for name, why in left_out.items():
        print(f"{name} is left out: {why}")
    dtypes = [getattr(torch, name) for name in options.dtypes if name not in left_out]
    rows = [measure(encoder, size, dtype, options)
            for encoder, size in zip(options.encoders, options.input_sizes, strict=True) for dtype in dtypes]
    append(options.output, facts() | content(options, rows)
           | {"left_out": left_out, "load": [load, os.getloadavg()[0]]})


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoders", nargs="+", default=["vit_b", "mini"], choices=ENCODER_SIZES)
    parser.add_argument("--input-sizes", type=int, nargs="+", default=[512, 256], help="one for each encoder")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"], choices=["float32", "bfloat16"])
    parser.add_argument("--batch", type=int, default=1, help="images at once")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--output", type=Path)
    return parser.parse_args()


def emulated(dtypes: Sequence[str], device: str) -> dict[str, str]:
    """Number type -> why it cannot be measured on `device`, for those of `dtypes` without hardware multiplication."""
    fast = fast_dtype(device)
    if device == "cuda":
        known = f"compute capability {torch.cuda.get_device_capability()}"
    else:
        able = torch.cpu.get_capabilities()
        known = "processor flags " + ", ".join(f"{flag} {'yes' if able.get(flag) else 'no'}" for flag in CPU_FLAGS)
    return {name: f"the fast mode cannot be measured here, {device} only emulates {name} ({known}); its fast type is "
                  f"{str(fast).removeprefix('torch.')}"
            for name in dtypes if getattr(torch, name) not in (torch.float32, fast)}


def measure(name: str, input_size: int, dtype: torch.dtype, options: argparse.Namespace) -> dict[str, Any]:
    """Rates, ratios, likeness and shares of the peak of one encoder in one number type; prints them."""
    device, batch = torch.device(options.device), options.batch
    plain = reference(ENCODER_SIZES[name], input_size).to(device)
    ours = build_image_encoder(name, input_size).to(device).eval()
    ours.load_state_dict(plain.state_dict())
    if dtype != torch.float32:
        ours.compute_in(dtype)
    if device.type == "cuda":
        ours.compile()
    pictures = torch.randn(batch, 3, input_size, input_size, device=device)
    alone = pictures[:1] if device.type == "cuda" else pictures
    runs: dict[str, tuple[int, Callable[[], torch.Tensor]]] = {
        "theirs_float32": (len(alone), lambda: plain(alone)),
        "ours": (batch, lambda: ours(pictures)),
    }
    if dtype != torch.float32 or device.type == "cuda":
        cast = copy.deepcopy(plain).to(dtype)
        runs["theirs"] = (batch, lambda: cast(pictures.to(dtype)).float())
    left, right = torch.randn(2, PEAK_SIDE[device.type], PEAK_SIDE[device.type], device=device).to(dtype)
    with torch.inference_mode():
        alike = float(cosine_similarity(runs["ours"][1]()[:1].flatten(1).double(),
                                        plain(alone)[:1].flatten(1).double()))
        seconds: dict[str, list[float]] = {run: [] for run in (*runs, "peak")}
        for _ in range(options.rounds):
            for run, (_, encode) in runs.items():
                seconds[run].append(timed(encode, device))
            seconds["peak"].append(timed(lambda: left @ right, device))
    rates = {run: count / median(seconds[run]) for run, (count, _) in runs.items()}
    rates.setdefault("theirs", rates["theirs_float32"])
    peak = 2 * len(left) ** 3 / min(seconds["peak"])
    needed = operations(ENCODER_SIZES[name], input_size)
    row = {
        "encoder": name, "input_size": input_size, "dtype": str(dtype).removeprefix("torch."), "batch": batch,
        "images_per_second": rates,
        "ratio": rates["ours"] / rates["theirs"],
        "ratio_to_float32": rates["ours"] / rates["theirs_float32"],
        "cosine": alike,
        "gflop_per_image": needed / 1e9,
        "peak_gflops": peak / 1e9,
        "peak_share": {run: rate * needed / peak for run, rate in rates.items() if run != "theirs_float32"},
        "seconds": seconds,
    }
    print(f"{name:6} {input_size:5} {row['dtype']:9} theirs {rates['theirs']:8.3f}/s  ours {rates['ours']:8.3f}/s  "
          f"ratio {row['ratio']:.2f} ({row['ratio_to_float32']:.2f} to float32)  cosine {alike:.7f}  "
          f"share of {peak / 1e9:.0f} GFLOP/s {row['peak_share']['ours']:.2f}", flush=True)
    return row


def reference(size: EncoderSize, input_size: int) -> ImageEncoderViT:
    """segment-anything's encoder with random weights, positions included, which it starts at zero."""
    torch.manual_seed(0)
    encoder = ImageEncoderViT(
        img_size=input_size, embed_dim=size.embed_dim, depth=size.depth, num_heads=size.num_heads, use_rel_pos=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-6), window_size=size.window_size,
        global_attn_indexes=size.global_attn_indexes,
    )
    for name, parameter in encoder.named_parameters():
        if "pos" in name:
            nn.init.normal_(parameter, std=0.1)
    return encoder.eval().requires_grad_(False)


def operations(size: EncoderSize, input_size: int) -> float:
    """Floating-point operations of the matrix products of one image, two for each multiplication."""
    grid, width = input_size // 16, size.embed_dim
    tokens = grid**2
    total = 2.0 * tokens * (768 * width + 256 * width + 9 * 256**2)
    for block in range(size.depth):
        everywhere = size.window_size == 0 or block in size.global_attn_indexes
        side = grid if everywhere else size.window_size
        # Queries and keys of one axis that see each other; both axes together: its square.
        pairs = sum((part.stop - part.start) * extent for part, extent in spans(grid, side))
        total += 2 * (12 * tokens * width**2 + 2 * pairs**2 * width + 2 * tokens * side * width)
    return total


def timed(run: Callable[[], Any], device: torch.device) -> float:
    """Wall-clock seconds of one call."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def content(options: argparse.Namespace, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What is recorded."""
    return {
        "device": torch.cuda.get_device_name() if options.device == "cuda"
        else torch.cpu.get_capabilities()["cpu_name"],
        "fast_dtype": str(fast_dtype(options.device)),
        "torch": torch.__version__,
        "threads": options.threads,
        "rows": rows,
    }


if __name__ == "__main__":
    main()
