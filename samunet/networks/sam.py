"""Segment Anything in its three sizes and in samunet's `mini`: our image encoder, segment-anything's other modules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from samunet.errors import UserError
from samunet.networks.image_encoder import ImageEncoder
from samunet.networks.sam_modules import MaskDecoder, PromptEncoder, TwoWayTransformer
from samunet.planning.encoder_spec import EMBEDDING_CHANNELS, PATCH_SIZE


@dataclass(frozen=True)
class EncoderSize:
    """Numbers of one image encoder. `window_size` 0 means that every block attends globally."""

    embed_dim: int
    depth: int
    num_heads: int
    window_size: int
    global_attn_indexes: tuple[int, ...]
    native_input_size: int


# vit_b, vit_l, vit_h: segment-anything's build_sam. mini: 16 x 16 tokens need no windows (14 would pad them to 28 x
# 28).
ENCODER_SIZES = {
    "mini": EncoderSize(192, 12, 3, 0, (), 256),
    "vit_b": EncoderSize(768, 12, 12, 14, (2, 5, 8, 11), 1024),
    "vit_l": EncoderSize(1024, 24, 16, 14, (5, 11, 17, 23), 1024),
    "vit_h": EncoderSize(1280, 32, 16, 14, (7, 15, 23, 31), 1024),
}


def build_image_encoder(size: str | EncoderSize, input_size: int) -> ImageEncoder:
    """SAM's image encoder: (B, 3, S, S) normalised float -> (B, 256, S/16, S/16), initialised as there."""
    numbers = ENCODER_SIZES[size] if isinstance(size, str) else size
    return ImageEncoder(
        input_size=input_size,
        patch=PATCH_SIZE,
        width=numbers.embed_dim,
        depth=numbers.depth,
        heads=numbers.num_heads,
        window=numbers.window_size,
        global_blocks=numbers.global_attn_indexes,
        out_channels=EMBEDDING_CHANNELS,
    )


def build_prompt_encoder(input_size: int) -> PromptEncoder:
    """SAM's prompt encoder for an S x S input."""
    grid = (input_size // PATCH_SIZE, input_size // PATCH_SIZE)
    return PromptEncoder(
        embed_dim=EMBEDDING_CHANNELS,
        image_embedding_size=grid,
        input_image_size=(input_size, input_size),
        mask_in_chans=16,
    )


def build_mask_decoder(mask_tokens: int = 4) -> MaskDecoder:
    """SAM's mask decoder with `mask_tokens` output masks (SAM itself: 4)."""
    return MaskDecoder(
        num_multimask_outputs=mask_tokens - 1,
        transformer=TwoWayTransformer(depth=2, embedding_dim=EMBEDDING_CHANNELS, mlp_dim=2048, num_heads=8),
        transformer_dim=EMBEDDING_CHANNELS,
        iou_head_depth=3,
        iou_head_hidden_dim=256,
    )


def load_part(part: nn.Module, prefix: str, sam_state: Mapping[str, Tensor]) -> None:
    """Load a checkpoint's weights under `prefix` ("mask_decoder.", "prompt_encoder.") into `part`; freeze it.

    Raises:
        RuntimeError: torch's, if the checkpoint has no or other weights.
    """
    part.load_state_dict(_part_of(sam_state, prefix, part))
    part.requires_grad_(False).eval()


def start_from(part: nn.Module, prefix: str, sam_state: Mapping[str, Tensor]) -> None:
    """Load a checkpoint's weights under `prefix` into `part`; a checkpoint without that part changes nothing.

    Additions of other projects (HQ-SAM's token) are left out.

    Raises:
        UserError: see `load_sams`; or some of the weights are missing.
    """
    if weights := _part_of(sam_state, prefix, part):
        load_sams(part, weights)


def load_sams(module: nn.Module, weights: Mapping[str, Tensor], *, strict: bool = True) -> None:
    """`load_state_dict` of a SAM checkpoint's weights other than the image encoder's.

    Raises:
        UserError: they have other shapes.
    """
    try:
        module.load_state_dict(dict(weights), strict=strict)
    except RuntimeError as fault:
        raise UserError("A checkpoint's mask decoder and prompt encoder must be SAM's, or be left out.",
                        where="--encoder",
                        found="; ".join(line.strip() for line in str(fault).splitlines()[1:])[:300],
                        mend="Choose another encoder, or a variant that reads only the image encoder, such as "
                             "cnn_head.") from fault


def _part_of(sam_state: Mapping[str, Tensor], prefix: str, part: nn.Module) -> dict[str, Tensor]:
    own = part.state_dict()
    named = {name.removeprefix(prefix): tensor for name, tensor in sam_state.items() if name.startswith(prefix)}
    return {name: tensor for name, tensor in named.items() if name in own}


class Sam(nn.Module):
    """A whole SAM, whose state dict has SAM's key names (image_encoder., prompt_encoder., mask_decoder.)."""

    def __init__(self, image_encoder: ImageEncoder, prompt_encoder: PromptEncoder, mask_decoder: MaskDecoder) -> None:
        super().__init__()
        self.image_encoder, self.prompt_encoder, self.mask_decoder = image_encoder, prompt_encoder, mask_decoder


def build_sam(size: str, input_size: int) -> Sam:
    """A whole SAM of one of ENCODER_SIZES for an S x S input."""
    return Sam(build_image_encoder(size, input_size), build_prompt_encoder(input_size), build_mask_decoder())


def set_input_size(sam: Sam, size: int) -> None:
    """Set the image side in pixels of the prompt encoder; its weights do not depend on it."""
    sam.prompt_encoder.input_image_size = (size, size)
    sam.prompt_encoder.image_embedding_size = (size // PATCH_SIZE, size // PATCH_SIZE)
