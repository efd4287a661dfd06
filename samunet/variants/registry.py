"""The variants by name. Imports no torch, so that help and completion stay fast."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samunet.errors import UserError
from samunet.extensions import VARIANTS as OUTSIDE
from samunet.extensions import extensions, loaded, package_of
from samunet.variants.entries import VariantEntry
from samunet.variants.settings import VariantSettings, built, changed, parsed

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from samunet.variants.base import Variant


VARIANTS = {
    # First what measured best from few labels on both datasets (studies/README.md).
    "hybrid": VariantEntry(
        "samunet.variants.hybrid:HybridVariant",
        "a small 3D U-Net that reads training labels registered to the case and, of named encoders, embeddings",
        "volumes",
    ),
    "probe": VariantEntry("samunet.variants.probe:ProbeVariant",
                          "one 1x1 convolution on cached embeddings: what the encoder alone holds", "embeddings"),
    "linear_head": VariantEntry("samunet.variants.linear_head:LinearHeadVariant",
                                "AutoSAM's linear head on cached embeddings", "embeddings"),
    "cnn_head": VariantEntry("samunet.variants.cnn_head:CnnHeadVariant", "AutoSAM's CNN head on cached embeddings",
                             "embeddings"),
    "autosam": VariantEntry("samunet.variants.autosam:AutoSamVariant",
                            "AutoSAM: SAM's mask decoder, prompt-free, on cached embeddings", "embeddings"),
    "fewshot": VariantEntry(
        "samunet.variants.fewshot:FewshotVariant",
        "SAM's mask decoder prompted by embeddings of labelled regions",
        "embeddings",
        support=True,
    ),
    "in_context": VariantEntry(
        "samunet.variants.fewshot:InContextVariant", "the same, with nothing trained", "embeddings", support=True
    ),
    "autosam_full": VariantEntry(
        "samunet.variants.autosam_full:AutoSamFullVariant", "AutoSAM with the encoder trained as well", "image_crops"
    ),
    "lora": VariantEntry(
        "samunet.variants.lora:LoraVariant",
        "SAMed: low-rank updates in the frozen encoder, and AutoSAM's head",
        "image_crops",
    ),
    "3d_adapter": VariantEntry(
        "samunet.variants.adapter_3d:Adapter3dVariant",
        "MA-SAM: adapters that see neighbouring slices in the frozen encoder, and SAM's decoder",
        "image_stacks",
    ),
    "3d_adapter_box": VariantEntry(
        "samunet.variants.adapter_3d_box:Adapter3dBoxVariant",
        "3d_adapter prompted by a 3D box for each class or object",
        "image_stacks",
        prompts=("boxes", "masks"),
    ),
    "3d_promptable": VariantEntry(
        "samunet.variants.promptable_3d:Promptable3dVariant",
        "3DSAM-adapter: 3D attention in the frozen encoder, prompted by clicks, boxes and a mask to correct",
        "patches_3d",
        prompts=("points", "negative points", "boxes", "masks"),
        holds_encoder=True,
    ),
    "3d_promptable_auto": VariantEntry("samunet.variants.promptable_3d_auto:Promptable3dAutoVariant",
                                       "the same without prompts", "patches_3d", holds_encoder=True),
    "unet": VariantEntry(
        "samunet.variants.unet:UnetVariant", "nnU-Net's plain 2D U-Net from scratch, without SAM", "patches"),
    "unet_simclr": VariantEntry(
        "samunet.variants.unet_simclr:UnetSimclrVariant",
        "the same, its encoder first trained by SimCLR on unlabelled images",
        "patches",
    ),
    "unet_3d": VariantEntry("samunet.variants.unet_3d:Unet3dVariant",
                            "nnU-Net's plain 3D U-Net from scratch, without SAM", "patches_3d"),
    "swin_unetr": VariantEntry("samunet.variants.swin_unetr:SwinUnetrVariant",
                               "MONAI's Swin UNETR from scratch, without SAM (extra monai)", "patches_3d",
                               only_named=True),
    "ux_net": VariantEntry("samunet.variants.ux_net:UxNetVariant", "3D UX-Net from scratch, without SAM",
                           "patches_3d", only_named=True),
    "nnformer": VariantEntry("samunet.variants.nnformer:NnFormerVariant", "nnFormer from scratch, without SAM",
                             "patches_3d", only_named=True),
    "sam_zeroshot": VariantEntry(
        "samunet.variants.sam_zeroshot:SamZeroshotVariant",
        "SAM's own decoder, nothing trained, prompted by points or boxes",
        "embeddings",
        prompts=("points", "negative points", "boxes", "masks"),
    ),
    "label_prior": VariantEntry("samunet.variants.label_prior:LabelPriorVariant",
                                "mean of the training labels; never looks at the image", "arrays"),
    "atlas": VariantEntry("samunet.variants.atlas:AtlasVariant",
                          "registration of training cases to the target, labels fused", "arrays"),
}


@dataclass(frozen=True)
class Alias:
    """A second name of `variant` with some of its `settings`, under which runs of these settings are stored.

    `target` is its class.
    """

    variant: str
    settings: Mapping[str, str]
    target: str


ALIASES = {
    "hybrid_off": Alias("hybrid", {"transport": "off"}, "samunet.variants.hybrid_off:HybridOffVariant"),
    "hybrid_augment": Alias("hybrid", {"transport": "augment"}, "samunet.variants.hybrid_augment:HybridAugmentVariant"),
    "hybrid_selftrain": Alias(
        "hybrid", {"transport": "selftrain"}, "samunet.variants.hybrid_selftrain:HybridSelftrainVariant"
    ),
    "hybrid_teacher": Alias("hybrid", {"transport": "teacher"}, "samunet.variants.hybrid_teacher:HybridTeacherVariant"),
    # Behind `hybrid_off`, whose name runs of `hybrid` with these settings keep.
    "hybrid_embeddings": Alias(
        "hybrid", {"transport": "off", "embeddings": "on"}, "samunet.variants.hybrid_off:HybridOffVariant"
    ),
}
"""Accepted wherever a variant is named, so that runs of each mode have folders of their own, and old ones are found."""


def listed() -> dict[str, str]:
    """Every variant's name and line of help: samunet's own, then those of installed packages, not imported.

    Raises:
        UserError: see `extensions.extensions`.
    """
    return {name: known.help for name, known in VARIANTS.items()} | {
        name: f"from {package_of(point)}" for name, point in _outside().items()
    }


def is_known(name: str) -> bool:
    """Whether `name` is a variant or an alias of one."""
    return name in VARIANTS or name in ALIASES or name in _outside()


def entry(name: str) -> VariantEntry:
    """The registry's entry for a variant or an alias. A variant of another package is imported.

    Raises:
        UserError: unknown name; lists the known ones. A variant of another package that is none.
    """
    outside, known = _outside(), ALIASES[name].variant if name in ALIASES else name
    if known in outside:
        return _outside_entry(outside[known])
    if known not in VARIANTS:
        raise UserError("The variant must be a known one.", where="VARIANT", found=name,
                        mend=f"Choose one of: {', '.join(listed())}.")
    return VARIANTS[known]


def _outside() -> dict[str, EntryPoint]:
    return extensions(OUTSIDE, {*VARIANTS, *ALIASES})


def _outside_entry(point: EntryPoint) -> VariantEntry:
    from samunet.variants.base import Variant

    kind = loaded(point)
    if not (isinstance(kind, type) and issubclass(kind, Variant) and kind.needs):
        raise UserError("A variant must be a class that derives from one in samunet.variants.kinds or base.",
                        where=f"{point.name} = {point.value} of {package_of(point)}", found=repr(kind)[:80],
                        mend="Repair or uninstall that package.")
    return VariantEntry(point.value, f"from {package_of(point)}", kind.needs, kind.prompts,
                        holds_encoder=getattr(kind, "holds_encoder", False))


def stored_as(name: str, settings: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The name under which runs of a variant with `settings` are stored, and the settings beside that name.

    An alias is its own; a variant's is the first alias whose settings are among them.

    Raises:
        UserError: an alias and a setting that contradicts it.
    """
    variant, implied = (ALIASES[name].variant, ALIASES[name].settings) if name in ALIASES else (name, {})
    if clash := sorted(key for key, value in implied.items() if settings.get(key, value) != value):
        raise UserError(f"{name} is {variant} with {_listing(implied)}.", where="--set",
                        found=", ".join(f"{key}={settings[key]}" for key in clash), mend=f"Name the variant {variant}.")
    whole = {**settings, **implied}
    if name in ALIASES:
        return name, {key: value for key, value in whole.items() if key not in implied}
    for alias, known in ALIASES.items():
        if known.variant == variant and all(whole.get(key) == value for key, value in known.settings.items()):
            return alias, {key: value for key, value in whole.items() if key not in known.settings}
    return variant, whole


def parsed_settings(name: str, given: Sequence[str]) -> dict[str, Any]:
    """The values of a variant's settings from texts `name=value`; imports the variant where any is given.

    Raises:
        UserError: see `settings.parsed`.
    """
    return parsed(variant_class(name).settings_type, name, given) if given else {}


def built_settings(name: str, settings: Mapping[str, Any], where: str | Path = "--set") -> VariantSettings:
    """All settings of the variant or alias `name`: `settings`, those that an alias implies, and defaults.

    Raises:
        UserError: see `settings.built`.
    """
    implied = ALIASES[name].settings if name in ALIASES else {}
    return built(variant_class(name).settings_type, name, {**settings, **implied}, where)


def changed_beside(name: str, settings: VariantSettings) -> dict[str, Any]:
    """The settings that are neither defaults nor implied by an alias."""
    implied = ALIASES[name].settings if name in ALIASES else {}
    return {key: value for key, value in changed(settings).items() if key not in implied}


def _listing(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in settings.items())


HOW_TO_PROMPT = (
    "Give a file with --prompts; or let samunet_train or samunet_benchmark take prompts from the ground truth "
    "with --oracle_prompts, which marks the result as oracle."
)


def check_prompts(name: str, given: bool) -> None:
    """Refuse a variant that answers prompts where there are none, and prompts where nobody answers them.

    Raises:
        UserError: tells both ways to give prompts.
    """
    if entry(name).prompts and not given:
        raise UserError(
            f"{name} answers prompts, and needs some.", where="command line", found="no prompts", mend=HOW_TO_PROMPT
        )
    if given and not entry(name).prompts:
        takers = ", ".join(known for known, each in VARIANTS.items() if each.prompts)
        raise UserError("Prompts must be given to a variant that answers them.", where="command line", found=name,
                        mend=f"Leave them out, or choose one of: {takers}.")


def check_kinds(name: str, kinds: Iterable[str], where: str) -> None:
    """Refuse kinds of prompts, as `VariantEntry` has them, that a variant which answers prompts does not answer.

    Raises:
        UserError: tells those that it answers.
    """
    others = sorted(set(kinds) - set(entry(name).prompts))
    if others:
        raise UserError(
            f"{name} answers {', '.join(entry(name).prompts)} alone.",
            where=where,
            found=", ".join(others),
            mend="Leave the others out, or choose a variant that answers them: see samunet_train --list.",
        )


def check_support(name: str, given: bool) -> None:
    """Refuse named support slices where none ask.

    Raises:
        UserError: tells which variants take them.
    """
    if given and not entry(name).support:
        takers = ", ".join(known for known, each in VARIANTS.items() if each.support)
        raise UserError(
            "Support slices must be given to a variant that is prompted by them.",
            where="command line",
            found=name,
            mend=f"Leave --support out, or choose one of: {takers}.",
        )


def variant_class(name: str) -> type[Variant]:
    """Import and return the variant's class."""
    target = ALIASES[name].target if name in ALIASES else entry(name).target
    module, _, attribute = target.partition(":")
    found: type[Variant] = getattr(import_module(module), attribute)
    return found
