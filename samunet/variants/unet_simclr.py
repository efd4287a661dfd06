"""`unet_simclr`: the U-Net whose encoder was first trained without labels."""

from __future__ import annotations

from typing import ClassVar

from samunet.variants.kinds import PatchVariant
from samunet.variants.simclr import SimclrPretraining
from samunet.variants.unet import UnetVariant


class UnetSimclrVariant(UnetVariant):
    """AutoSAM's baseline "UNet + SimCLR" (Hu et al., arXiv 2306.06370), on `unet`.

    The first half of the iterations trains the encoder by SimCLR on the images of all the fold's training cases,
    except those of a drawn patient that the draw left out; the second half fine-tunes all of it on the labelled ones.

    Deviations: nnU-Net's U-Net, augmentation and fine-tuning in place of the authors'; both views are augmented alike,
    where the authors augment the first view again to get the second; in equal time with `unet`, not 100 epochs more.
    """

    unlabelled: ClassVar[bool] = True
    smallest_batch: ClassVar[int | None] = None  # SimCLR contrasts a sample with all others of its batch

    def pretraining(self) -> PatchVariant:
        """SimCLR on the encoder."""
        return SimclrPretraining(self)
