"""Bad input: images, 3D TIFFs, folders of frames, videos and sequences."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image
from skimage import io

from tests.faults.bases import ENDINGS, write_picture, write_video
from tests.faults.entry import Check, Entry, anything
from tests.faults.place import Place, scan

TRAINING = ("plan", "verify", "preprocess")
ALL = (*TRAINING, "predict")
Make = Callable[[Path], object]


def image_at(base: str, place: Place, test: bool) -> Path:
    part, case = ("Ts", "c4") if test else ("Tr", "c1")
    return place.dataset / f"images{part}" / f"{case}_0000{ENDINGS[base].rstrip('/')}"


def label_at(base: str, place: Place, test: bool) -> Path:
    part, case = ("Ts", "c4") if test else ("Tr", "c1")
    return place.dataset / f"labels{part}" / f"{case}{'' if base in ('frames', 'videos') else ENDINGS[base]}"


def _grey(case: int = 1) -> np.ndarray:
    return scan(case)[0].clip(0, 255).astype(np.uint8)


def _both(at: Callable[[str, Place, bool], Path], base: str, make: Make) -> Callable[[Place], None]:
    """Damage the file to train with and the one to predict, or to score with."""
    return lambda place: (make(at(base, place, False)), make(at(base, place, True)), None)[2]


def _bytes(change: Callable[[bytes], bytes]) -> Make:
    return lambda path: path.write_bytes(change(path.read_bytes()))


def _saved(mode: str, **options: object) -> Make:
    """Save the grey image in another of PIL's modes."""

    def make(path: Path) -> None:
        Image.fromarray(io.imread(path)).convert(mode).save(path, format="PNG", **options)

    return make


def _turned(path: Path) -> None:
    """An EXIF orientation that says that the image is to be turned by 90 degrees."""
    picture = Image.fromarray(io.imread(path))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(path, format="PNG", exif=exif)


def _palette(path: Path) -> None:
    """Numbers that are colours of a palette, red, green and blue."""
    picture = Image.fromarray(io.imread(path) % 3)
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0] + [0] * 759)
    picture.save(path, format="PNG")


def _animated(path: Path) -> None:
    picture = Image.fromarray(io.imread(path))
    picture.save(path, format="PNG", save_all=True, append_images=[picture, picture])


def _jpeg(path: Path) -> None:
    Image.fromarray(io.imread(path)).save(path, format="JPEG")


def _array(change: Callable[[np.ndarray], np.ndarray]) -> Make:
    return lambda path: write_picture(path, change(io.imread(path)))


PICTURES: dict[str, tuple[Make, bool]] = {  # how, and whether it may be used
    "half of the file": (_bytes(lambda content: content[: len(content) // 2]), False),
    "empty": (_bytes(lambda content: b""), False), "text": (_bytes(lambda content: b"not a picture"), False),
    "a byte flipped": (_bytes(lambda content: content[:60] + bytes([content[60] ^ 255]) + content[61:]), False),
    "a GIF": (lambda path: Image.fromarray(io.imread(path)).save(path, format="GIF"), True), "a JPEG": (_jpeg, True),
    "RGB": (_saved("RGB"), False), "grey with alpha": (_saved("LA"), False), "RGBA": (_saved("RGBA"), False),
    "one bit a pixel": (_saved("1"), True),
    "16 bit": (lambda path: Image.fromarray(io.imread(path).astype(np.uint16) * 200).save(path, format="PNG"), True),
    "a palette": (_palette, False), "an EXIF orientation": (_turned, True), "animated": (_animated, True),
    "a single pixel": (_array(lambda a: a[:1, :1]), True),
    "a header of 10**9 pixels":
        (_bytes(lambda content: content[:16] + (2**30).to_bytes(4, "big") + content[20:]), False),
}
PICTURE_LABELS: dict[str, tuple[Make, bool]] = {
    "another size": (_array(lambda a: a[:-1]), False), "turned by 90 degrees": (_array(lambda a: a.T), False),
    "0 and 255": (_array(lambda a: (a > 0).astype(np.uint8) * 255), False), "RGB": (_saved("RGB"), False),
    "a palette": (_palette, True), "an EXIF orientation": (_turned, False), "smoothed by JPEG": (_jpeg, True),
    "half of the file": (_bytes(lambda content: content[: len(content) // 2]), False),
}


def _spacing(content: object) -> Make:
    text = content if isinstance(content, str) else json.dumps(content)
    return lambda path: path.with_name(path.name.replace("_0000", "")).with_suffix(".json").write_text(text)


def _tiff(change: Callable[[np.ndarray], np.ndarray], **options: object) -> Make:
    return lambda path: tifffile.imwrite(path, change(tifffile.imread(path)),
                                         **{"photometric": "minisblack", **options})


def _pages(path: Path) -> None:
    """Slices that were written one by one, as images of their own."""
    volume = tifffile.imread(path)
    with tifffile.TiffWriter(path) as writer:
        for page in volume:
            writer.write(page, contiguous=False, metadata=None)


TIFFS: dict[str, tuple[Make, bool]] = {
    **{f"spacing of {name}": (_spacing(content), False)
       for name, content in { "nothing": "", "no JSON": "{", "a list": [1, 1, 1], "null": None,
                             "two values": {"spacing": [1, 1]},
                   "0": {"spacing": [0, 1, 1]}, "-1": {"spacing": [-1, 1, 1]}, "NaN": '{"spacing": [NaN, 1, 1]}',
                   "infinity": '{"spacing": [Infinity, 1, 1]}', "text": {"spacing": ["1", "1", "1"]},
                   "true": {"spacing": [True, 1, 1]}, "1e30": {"spacing": [1e30, 1, 1]},
                   "1e-30": {"spacing": [1e-30, 1, 1]}, "400 digits": {"spacing": [10**400, 1, 1]},
                   "another key": {"spacings": [1, 1, 1]}, "a list in a list": {"spacing": [[1, 1, 1]]}}.items()},
    "spacing of no file":
        (lambda path: path.with_name(path.name.replace("_0000", "")).with_suffix(".json").unlink(), True),
    "half of the file": (_bytes(lambda content: content[: len(content) // 2]), False),
    "empty": (_bytes(lambda content: b""), False), "text": (_bytes(lambda content: b"II*\0 not a TIFF"), False),
    "a single page": (_tiff(lambda a: a[0]), False), "four axes": (_tiff(lambda a: np.stack([a, a])), False),
    "slices as images of their own": (_pages, True),
    "colour":
        (lambda path: tifffile.imwrite(path, np.stack([tifffile.imread(path)] * 3, -1), photometric="rgb"), False),
    "complex numbers": (_tiff(lambda a: a.astype(np.complex64)), False),
    "NaN": (_tiff(lambda a: np.where(a == a.max(), np.nan, a).astype(np.float32)), False),
    "float16": (_tiff(lambda a: a.astype(np.float16)), True), "big-endian": (_tiff(lambda a: a, byteorder=">"), True),
    "tiles": (_tiff(lambda a: a, tile=(16, 16)), True), "BigTIFF": (_tiff(lambda a: a, bigtiff=True), True),
}


def _frame(name: str, make: Make) -> Make:
    return lambda path: make(path / name)


FRAMES: dict[str, tuple[Make, bool]] = {
    "a frame of another size": (_frame("f2.png", _array(lambda a: a[:-1])), False),
    "a frame in colour": (_frame("f2.png", _saved("RGB")), False),
    "a frame that is empty": (_frame("f2.png", _bytes(lambda content: b"")), False),
    "a frame less": (_frame("f2.png", Path.unlink), False),
    "a name twice": (lambda path: io.imsave(str(path / "f2.bmp"), io.imread(path / "f2.png")), False),
    "no frame": (lambda path: [each.unlink() for each in path.iterdir()], False),
    "a text file beside": (lambda path: (path / "notes.txt").write_text("x"), True),
    "a hidden file beside": (lambda path: (path / "._f0.png").write_bytes(b"x"), True),
    "a folder in the folder": (lambda path: (path / "more").mkdir(), True),
    "a frame that is a dangling link":
        (_frame("f2.png", lambda path: (path.unlink(), path.symlink_to("nowhere.png"))), False),
    "a frame in upper case": (_frame("f2.png", lambda path: path.rename(path.with_suffix(".PNG"))), True),
    "a file in place of the folder":
        (lambda path: ([each.unlink() for each in path.iterdir()], path.rmdir(), path.write_bytes(b"x")), False),
}
VIDEOS: dict[str, tuple[Make, bool]] = {
    "half of the file": (_bytes(lambda content: content[: len(content) // 2]), False),
    "empty": (_bytes(lambda content: b""), False), "text": (_bytes(lambda content: b"not a video"), False),
    "frames less than labels": (lambda path: write_video(path, _grey()[:4]), False),
    "frames more than labels": (lambda path: write_video(path, _grey().repeat(2, 0)), False),
    "a few bytes less": (_bytes(lambda content: content[:-200]), True),
    "sound without images": (_bytes(lambda content: content.replace(b"vide", b"soun")), False),
}
SEQUENCES: dict[str, tuple[Make, bool]] = {
    "half of the file": (_bytes(lambda content: content[: len(content) // 2]), False),
    "pages of two sizes": (lambda path: _two_sizes(path), False),
    "a page less": (lambda path: tifffile.imwrite(path, tifffile.imread(path)[:-1], photometric="minisblack"), False),
    "five axes": (_tiff(lambda a: np.stack([np.stack([a, a])] * 2)), False),
    "colour":
        (lambda path: tifffile.imwrite(path, np.stack([tifffile.imread(path)] * 3, -1), photometric="rgb"), False),
}


def _two_sizes(path: Path) -> None:
    volume = tifffile.imread(path)
    with tifffile.TiffWriter(path) as writer:
        writer.write(volume[0])
        writer.write(volume[1, :-2])


def _entries_of(base: str, spoils: dict[str, tuple[Make, bool]], at: Callable[[str, Place, bool], Path],
                commands: tuple[str, ...], group: str) -> list[Entry]:
    named = ("c1|c4|numTraining",)  # a case that is not found is one too few
    return [Entry(group, name, _both(at, base, make), commands, named, _maybe(may), base, warns=True)
            for name, (make, may) in spoils.items()]


def _maybe(may: bool) -> Check | None:
    return anything if may else None


def entries() -> list[Entry]:
    """All entries of this file.

    Frames and pages are missing only beside labels that have them: prediction then has nothing to refuse.
    """
    made = _entries_of("pictures", PICTURES, image_at, ALL, "picture")
    made += _entries_of("pictures", PICTURE_LABELS, label_at, (*TRAINING, "evaluate"), "picture label")
    made += _entries_of("tiffs", TIFFS, image_at, ALL, "3D TIFF")
    for base, spoils, group in (("frames", FRAMES, "frames"), ("videos", VIDEOS, "video"),
                                ("sequences", SEQUENCES, "TIFF sequence")):
        one_sided = {name: spoil for name, spoil in spoils.items() if "less" in name or "more than" in name}
        made += _entries_of(base, {name: spoil for name, spoil in spoils.items() if name not in one_sided}, image_at,
                            ALL, group)
        made += _entries_of(base, one_sided, image_at, TRAINING, group)
    return made


