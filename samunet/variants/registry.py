"""The variants by name. Imports no torch, so that help and completion stay fast."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from samunet.errors import UserError

if TYPE_CHECKING:
    from samunet.variants.base import Variant


@dataclass(frozen=True)
class VariantEntry:
    """`target` is "module:Class"; `needs` is what the variant reads: `embeddings`, `stacks`, `pictures`, `patches` or `arrays`."""

    target: str
    help: str
    needs: str

    @property
    def needs_encoder(self) -> bool:
        """Whether an encoder is loaded for it; patches and arrays are read without one."""
        return self.needs in ("embeddings", "stacks", "pictures")


VARIANTS = {
    "probe": VariantEntry("samunet.variants.probe:ProbeVariant",
                          "one 1x1 convolution on cached embeddings: what the encoder alone holds", "embeddings"),
    "linear_head": VariantEntry("samunet.variants.linear_head:LinearHeadVariant",
                                "AutoSAM's linear head on cached embeddings", "embeddings"),
    "cnn_head": VariantEntry("samunet.variants.cnn_head:CnnHeadVariant",
                             "AutoSAM's CNN head on cached embeddings", "embeddings"),
    "autosam": VariantEntry("samunet.variants.autosam:AutoSamVariant",
                            "AutoSAM: SAM's mask decoder, prompt-free, on cached embeddings", "embeddings"),
    "fewshot": VariantEntry("samunet.variants.fewshot:FewshotVariant",
                            "SAM's mask decoder asked by embeddings of labelled regions", "embeddings"),
    "in_context": VariantEntry("samunet.variants.fewshot:InContextVariant",
                               "the same, with nothing trained", "embeddings"),
    "autosam_full": VariantEntry("samunet.variants.autosam_full:AutoSamFullVariant",
                                 "AutoSAM with the encoder trained as well", "pictures"),
    "hybrid": VariantEntry("samunet.variants.hybrid:HybridVariant",
                           "a small 3D U-Net joined with cached embeddings", "stacks"),
    "lora": VariantEntry("samunet.variants.lora:LoraVariant",
                         "SAMed: low-rank increments in the frozen encoder, and AutoSAM's head", "pictures"),
    "unet": VariantEntry("samunet.variants.unet:UnetVariant",
                         "nnU-Net's plain 2D U-Net from scratch, without SAM", "patches"),
    "unet_simclr": VariantEntry("samunet.variants.unet_simclr:UnetSimclrVariant",
                                "the same, its encoder first trained by SimCLR on unlabelled images", "patches"),
    "label_prior": VariantEntry("samunet.variants.label_prior:LabelPriorVariant",
                                "mean of the training labels; never looks at the image", "arrays"),
    "atlas": VariantEntry("samunet.variants.atlas:AtlasVariant",
                          "registration of training cases to the target, labels fused", "arrays"),
}


def entry(name: str) -> VariantEntry:
    """The registry's entry for `name`.

    Raises:
        UserError: unknown name; lists the known ones.
    """
    if name not in VARIANTS:
        raise UserError("The variant must be a known one.", where="VARIANT", found=name,
                        mend=f"Choose one of: {', '.join(VARIANTS)}.")
    return VARIANTS[name]


def variant_class(name: str) -> type[Variant]:
    """Import and return the variant's class."""
    module, _, attribute = entry(name).target.partition(":")
    return getattr(import_module(module), attribute)
