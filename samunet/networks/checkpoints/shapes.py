"""Size of an image encoder from the shapes of its weights, and the same weights for another input size."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor
from torch.nn.functional import interpolate

from samunet.errors import UserError
from samunet.networks.image_encoder import resized_positions
from samunet.networks.sam import ENCODER_SIZES, EncoderSize
from samunet.planning.encoder_spec import PATCH_SIZE

PREFIX = "image_encoder."
_TABLE = re.compile(r"blocks\.(\d+)\.attn\.rel_pos_[hw]")


def encoder_size(state: Mapping[str, Tensor], path: Path) -> EncoderSize:
    """Width, depth, heads, window and native input size of the image encoder in `state`, from its shapes only.

    The heads' width is that of the relative position tables. A table of 2 n - 1 rows serves n x n tokens: blocks whose
    tables cover the grid of the absolute positions attend globally, the others in windows.

    Raises:
        UserError: shapes that no SAM image encoder has.
    """
    positions = state[f"{PREFIX}pos_embed"]
    of_blocks = [(int(match[1]), tuple(tensor.shape)) for key, tensor in state.items()
                 if (match := _TABLE.fullmatch(key.removeprefix(PREFIX)))]
    tables = dict(of_blocks)
    if positions.ndim != 4 or positions.shape[1] != positions.shape[2] or 0 in positions.shape or not tables:
        raise _strange(path, f"positions of shape {tuple(positions.shape)}, {len(tables)} relative position tables")
    _, grid, _, width = positions.shape
    shapes = sorted({shape for _, shape in of_blocks})
    # Both tables of a block are alike, two-dimensional and not empty; each block has other tensors, too.
    if (max(tables) >= len(state)
        or any(shape != tables[block] or len(shape) != 2 or 0 in shape for block, shape in of_blocks)):
        raise _strange(path,
                       f"width {width}, relative position tables of {_listed(shapes)} in blocks up to {max(tables)}")
    rows = {shape[0] for shape in tables.values()}
    global_rows = 2 * grid - 1 if 2 * grid - 1 in rows else max(rows)
    local_rows = rows - {global_rows}
    heads, rest = divmod(width, next(iter(tables.values()))[1])
    if len(local_rows) > 1 or rest or any(count % 2 == 0 for count in rows):
        raise _strange(path, f"width {width}, relative position tables of {_listed(shapes)}")
    return EncoderSize(
        embed_dim=width,
        depth=max(tables) + 1,
        num_heads=heads,
        window_size=(local_rows.pop() + 1) // 2 if local_rows else 0,
        global_attn_indexes=tuple(sorted(index for index, shape in tables.items() if shape[0] == global_rows))
        if len(rows) > 1 else (),
        native_input_size=grid * PATCH_SIZE,
    )


def size_name(size: EncoderSize) -> str:
    """`mini`, `vit_b`, `vit_l` or `vit_h`, for any native input size; `vit_<width>x<depth>` for all others."""
    for name, known in ENCODER_SIZES.items():
        if replace(size, native_input_size=known.native_input_size) == known:
            return name
    return f"vit_{size.embed_dim}x{size.depth}"


def encoder_weights(state: Mapping[str, Tensor], size: EncoderSize, input_size: int) -> dict[str, Tensor]:
    """The image encoder's part of `state`, without its prefix, for square inputs of `input_size` pixels.

    Absolute positions (1, G, G, D) are interpolated bilinearly, relative tables of global blocks (2 G - 1, d) linearly,
    both without aligned corners, as segment-anything's `get_rel_pos` does. Tables of windows fit every input size.
    """
    part = {key[len(PREFIX) :]: tensor for key, tensor in state.items() if key.startswith(PREFIX)}
    grid = input_size // PATCH_SIZE
    part["pos_embed"] = resized_positions(part["pos_embed"], (grid, grid)).contiguous()
    everywhere = range(size.depth) if size.window_size == 0 else size.global_attn_indexes
    for name in (f"blocks.{block}.attn.rel_pos_{axis}" for block in everywhere for axis in "hw"):
        if (table := part.get(name)) is not None and table.shape[0] != 2 * grid - 1:
            part[name] = interpolate(table.T[None], 2 * grid - 1, mode="linear")[0].T.contiguous()
    return part


def require_same_shapes(found: Mapping[str, Tensor], needed: Mapping[str, Tensor], path: Path) -> None:
    """Refuse weights that are not exactly those of the built encoder, by the names and shapes that differ.

    Raises:
        UserError: a tensor is missing, of another shape, or unknown.
    """
    faults = [f"{PREFIX}{key} is missing" for key in needed if key not in found]
    faults += [f"{PREFIX}{key} is no part of SAM's encoder" for key in found if key not in needed]
    faults += [f"{PREFIX}{key} is {tuple(found[key].shape)}, not {tuple(needed[key].shape)}"
               for key in needed if key in found and found[key].shape != needed[key].shape]
    if faults:
        more = f", and {len(faults) - 2} more" if len(faults) > 2 else ""
        raise UserError("A checkpoint must hold the weights of SAM's image encoder, complete and without additions.",
                        where=path,
                        found="; ".join(faults[:2]) + more,
                        mend="Use a file of a plain SAM (merge or remove adapters), or download it again.")


def _strange(path: Path, found: str) -> UserError:
    return UserError("A checkpoint's shapes must be those of a SAM image encoder: square positions, tables of "
                     "relative ones.",
                     where=path, found=found, mend="Use a SAM-format ViT file.")


def _listed(shapes: Iterable[tuple[int, ...]]) -> str:
    return ", ".join(" x ".join(map(str, shape)) for shape in shapes)
