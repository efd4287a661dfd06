"""What the registry knows of a variant. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class VariantEntry:
    """`target` is "module:Class"; `needs` is what the variant reads: `embeddings`, `volumes`, `voxels`,
    `image_crops`, `image_stacks`, `patches`, `patches_3d` or `arrays`.

    `prompts` are the kinds of prompts that it answers, and does nothing without: `points`, `negative points`, `boxes`,
    `masks` to start from. `support` is whether labelled slices ask. `holds_encoder` is whether a network on
    `patches_3d` has the encoder in it. `only_named` is whether a benchmark runs it only when it is named: its
    network is so large that an iteration takes seconds where others take tenths.
    """

    target: str
    help: str
    needs: str
    prompts: tuple[str, ...] = ()
    support: bool = False
    holds_encoder: bool = False
    only_named: bool = False

    @property
    def needs_encoder(self) -> bool:
        """Whether an encoder is loaded for it; voxels, patches and arrays are read without one."""
        return self.reads_embeddings or self.holds_encoder or self.needs in ("image_crops", "image_stacks")

    @property
    def reads_embeddings(self) -> bool:
        """Whether it reads cached embeddings."""
        return self.needs in ("embeddings", "volumes")

    @property
    def reads_patches_3d(self) -> bool:
        """Whether it reads 3D patches, which have a section of the plans."""
        return self.needs == "patches_3d"
