"""Which intensity normalisation a channel gets: by its name, as in nnU-Net, but never by silent default."""

from __future__ import annotations

from collections.abc import Sequence

from samunet.errors import UserError, joined

# nnU-Net v2's own names, compared without case. They are also the names of the schemes.
SCHEMES = ("ct", "nonorm", "zscore", "rescale_to_0_1", "rgb_to_0_1")

# Names that nnU-Net users give to channels, all of them z-score there. Compared without case, spaces, `-`, `_` and `.`.
ZSCORE_CHANNELS = {
    "magnetic resonance": (
        "MRI",
        "MR",
        "cMRI",
        "CMR",
        "cine",
        "cineMRI",
        "LGE",
        "DCE",
        "DWI",
        "ADC",
        "SWI",
        "PD",
        "PDw",
        "STIR",
        "DTI",
        "FA",
        "T1",
        "T1w",
        "T1ce",
        "T1c",
        "T1Gd",
        "T1post",
        "T1n",
        "T1-weighted",
        "T2",
        "T2w",
        "T2f",
        "T2-weighted",
        "T2star",
        "T2-FLAIR",
        "FLAIR",
        "bSSFP",
        "SSFP",
        "DESS",
        "TOF",
        "MRA",
    ),
    "other volumes": ("PET", "SUV", "SPECT", "CBCT", "US", "ultrasound", "OCT"),
    "flat images": (
        "x-ray",
        "CXR",
        "mammography",
        "fundus",
        "endoscopy",
        "dermoscopy",
        "histology",
        "R",
        "G",
        "B",
        "red",
        "green",
        "blue",
        "grey",
        "gray",
    ),
    "microscopy": ("microscopy", "EM", "SEM", "TEM", "fluorescence", "brightfield", "phase contrast", "DAPI"),
}

MASKED_BELOW = 0.75
# Without case. "rgb_to_0_1" stands here as `_plain` has it.
COLOURS = (("r", "g", "b"), ("red", "green", "blue"), ("rgbto01",) * 3)


def schemes_of(channel_names: Sequence[str]) -> tuple[str, ...]:
    """The scheme of each channel, one of `SCHEMES`.

    Raises:
        UserError: for every unknown name; lists the known ones and suggests z-score.
    """
    problems = [_unknown(index, name) for index, name in enumerate(channel_names) if _scheme(name) is None]
    if problems:
        raise joined(problems)
    return tuple(scheme for name in channel_names if (scheme := _scheme(name)) is not None)


def are_colours(channel_names: Sequence[str]) -> bool:
    """Whether the channels are red, green and blue of one picture."""
    return tuple(_plain(name) for name in channel_names) in COLOURS


def masks_for(schemes: Sequence[str], median_relative_size: float) -> tuple[bool, ...]:
    """Whether each channel is normalised inside the non-zero mask only (nnU-Net's rule).

    True for z-score channels where the crop to non-zero voxels leaves less than three quarters of the median case, as
    in skull-stripped brains.
    """
    return tuple(scheme == "zscore" and median_relative_size < MASKED_BELOW for scheme in schemes)


def _scheme(name: str) -> str | None:
    if name.casefold() in SCHEMES:
        return name.casefold()
    return "zscore" if _plain(name) in _PLAIN_ZSCORE_CHANNELS else None


def _plain(name: str) -> str:
    return name.casefold().translate({ord(character): None for character in " -_."})


_PLAIN_ZSCORE_CHANNELS = frozenset(_plain(name) for names in ZSCORE_CHANNELS.values() for name in names)


def _unknown(index: int, name: str) -> UserError:
    known = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in ZSCORE_CHANNELS.items())
    return UserError(
        "A channel's name must be known, because it chooses the normalisation.",
        where=f"dataset.json, channel_names, channel {index}",
        found=repr(name),
        mend=f"Name it 'zscore' if in doubt, or one of {', '.join(SCHEMES)}. Known z-score channels are {known}.",
    )
