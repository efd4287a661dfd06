"""Zips that somebody else made: each is refused with a message of its own, and nothing is written or run."""

from __future__ import annotations

import os
import pickle
import stat
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from bundles import contents_of, manifest_for, prior_model, write_zip

from samunet.cli.install_pretrained_model_from_zip import main as install
from samunet.errors import UserError
from samunet.inference.bundle.archive import read_bundle
from samunet.inference.model_folder import load_model
from samunet.sharing.export import export_model


class Strike:
    """Unpickling it writes a file, which must never be there."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return os.mkdir, (str(self.file),)


def entry_with(name="dataset_fingerprint.json", content=b"{}", **fields):
    """A bundle with one more member that is in the manifest; `fields` change the zip's entry of it."""
    def build(path, good):
        listed = {**good, name: content}
        good = {**good, "manifest.json": manifest_for(listed)}
        return write_zip(path, [*good.items(), (name, content)], **fields)
    return build


def manifest_with(text=None, **changes):
    """A bundle whose manifest is `text`, or differs in some fields."""
    def build(path, good):
        return write_zip(path, [*{**good, "manifest.json": text or manifest_for(good, **changes)}.items()])
    return build


def named(name, content=b"x"):
    return entry_with(name=name, content=content)


def twice(first, second):
    def build(path, good):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return write_zip(path, [*good.items(), (first, b"1"), (second, b"2")])
    return build


def without(name, listed=True):
    def build(path, good):
        rest = {each: content for each, content in good.items() if each != name}
        if not listed and "manifest.json" in rest:
            rest["manifest.json"] = manifest_for(rest)
        return write_zip(path, [*rest.items()])
    return build


def not_listed(path, good):
    return write_zip(path, [*good.items(), ("fold_0/label_statistics.json", b"{}")])


def other_content(path, good):
    return write_zip(path, [*{**good, "plans.json": good["plans.json"].replace(b"1.0", b"9.0", 1)}.items()])


def other_size(path, good):
    return write_zip(path, [*{**good, "plans.json": good["plans.json"] + b" "}.items()])


def claims_gigabytes(path, good):
    """The directory says that a member is stored with 4 GB, packed and unpacked."""
    return entry_with(file_size=2**32 - 2, compress_size=2**32 - 2)(path, good)


def overlapping(path, good):
    """Many entries of one local file: what they hold together is far larger than the zip."""
    listed = {f"fold_0/validation/{number}.nii.gz": b"0" * 100_000 for number in range(50)}
    contents = {**good, **listed}
    contents["manifest.json"] = manifest_for(contents)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            if name not in listed:
                archive.writestr(name, content)
        first, *others = listed
        archive.writestr(first, listed[first])
        for name in others:
            info = zipfile.ZipInfo(name)
            info.header_offset = archive.getinfo(first).header_offset
            info.file_size, info.compress_size, info.CRC = 100_000, 100_000, archive.getinfo(first).CRC
            archive.filelist.append(info)
    return path


def cut_off(path, good):
    write_zip(path, [*good.items()])
    path.write_bytes(path.read_bytes()[:-40])
    return path


def changed_bit(path, good):
    """One byte of the weights differs; the zip's own checksum notices."""
    write_zip(path, [*good.items()])
    content, weights = path.read_bytes(), good["fold_0/checkpoint_final.safetensors"]
    at = content.index(weights) + len(weights) - 1
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    return path


HOSTILE = {
    "absolute": (named("/tmp/samunet_struck.json"), "must not be absolute"),
    "parent": (named("fold_0/../../struck.json"), "parent folder"),
    "backslash": (named("fold_0\\struck.json"), "backslash"),
    "drive": (named("C:struck.json"), "begin with a drive"),
    "line break": (named("fold_0/a\nb.json"), "control characters"),
    "here": (named("./struck.json"), "shortest form"),
    "folder": (named("fold_1/", b""), "no entries for folders"),
    "too deep": (named("fold_0/validation/a/b.nii.gz"), "deep"),
    "pickle": (None, "can contain code"),
    "unknown": (named("fold_0/notes.md"), "samunet model alone"),
    "link": (entry_with(external_attr=(stat.S_IFLNK | 0o777) << 16, content=b"/etc/passwd"), "links"),
    "pipe": (entry_with(external_attr=(stat.S_IFIFO | 0o644) << 16), "regular files"),
    "encrypted": (entry_with(flag_bits=1), "encrypted"),
    "compressed": (entry_with(content=b"0" * 10**6, compress_type=zipfile.ZIP_DEFLATED), "without compression"),
    "two sizes": (entry_with(file_size=10**6), "one size"),
    "gigabytes": (claims_gigabytes, "must not be larger than the file"),
    "overlapping": (overlapping, "must not be larger than the file"),
    "duplicate": (twice("fold_0/label_statistics.json", "fold_0/label_statistics.json"), "each member once"),
    "letter case": (twice("fold_0/validation/a.png", "fold_0/validation/A.png"), "form of letters"),
    "not listed": (not_listed, "must be in its manifest"),
    "missing": (without("dataset.json"), "lists must be there"),
    "no model": (without("plans.json", listed=False), "a whole model"),
    "other fold": (named("fold_1/run.json", b"{}"), "names alone"),
    "no manifest": (without("manifest.json"), "must have a manifest.json"),
    "other content": (other_content, "SHA-256"),
    "other size": (other_size, "the sizes"),
    "no JSON": (manifest_with(b"{"), "valid JSON"),
    "another format": (manifest_with(format="a model"), "must be of the format"),
    "another version": (manifest_with(version=2), "must be of version 1"),
    "place outside": (manifest_with(dataset="Dataset001_../../x"), "at `\\$.dataset`"),
    "unknown field": (manifest_with(run="rm"), "unknown `run`"),
    "no zip": (lambda path, good: path.write_bytes(b"PK nothing") and path, "not a zip file"),
    "cut off": (cut_off, "not a zip file"),
    "changed bit": (changed_bit, "Bad CRC-32"),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> dict[str, bytes]:
    """The members of a bundle without fault."""
    folder = tmp_path_factory.mktemp("good")
    export_model(prior_model(folder), None, folder / "good.zip")
    return contents_of(folder / "good.zip")


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """An empty folder of results, which is the working folder; temporary folders are made in one beside it."""
    for name in ("here", "temporary"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    return tmp_path


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_bundle_is_refused_before_anything_is_written(name, good, place, capsys):
    build, message = HOSTILE[name]
    build = build or named("fold_0/model.pkl", pickle.dumps(Strike(place / "struck")))
    bundle = build(place / "bundle.zip", good)
    with pytest.raises(UserError, match=message):
        read_bundle(bundle)
    with pytest.raises(UserError, match=message):
        load_model(bundle, None, torch.device("cpu"))
    assert install([str(bundle), "--results", str(place / "here")]) == 2
    assert "bundle.zip" in capsys.readouterr().err
    assert files_below(place) == ["bundle.zip", "here", "temporary"]
    assert not Path("/tmp/samunet_struck.json").exists()


def test_the_faults_have_messages_of_their_own(good, tmp_path):
    rules = set()
    for name, (build, _) in HOSTILE.items():
        with pytest.raises(UserError) as refused:
            read_bundle((build or named("a.pkl"))(tmp_path / f"{name}.zip", good))
        rules.add((refused.value.rule, refused.value.found.partition(" ")[0]))
    assert len({rule for rule, _ in rules}) >= 25


def test_the_bundle_that_they_differ_from_is_read(good, tmp_path):
    bundle = write_zip(tmp_path / "bundle.zip", [*good.items()])
    assert read_bundle(bundle).place.as_posix() == "Dataset900_Phantom/label_prior__samunetPlans__untrained"
