"""A bundle put into the results folder, where every command finds its model as if it had been trained here."""

from __future__ import annotations

import shutil
from pathlib import Path

from samunet.errors import UserError, some
from samunet.files import digest_of_file, read_json, whole_folder
from samunet.inference.bundle.archive import unpacked
from samunet.inference.bundle.manifest import FAULTY, Manifest, decode_manifest
from samunet.inference.bundle.members import MANIFEST
from samunet.inference.model_files import model_files
from samunet.inference.model_folder import chosen_runs
from samunet.locks import lock_beside, owned


def install_model(bundle: Path, results: Path) -> Path:
    """Install the model of a bundle into its place below `results`, whole or not at all; returns that folder.

    The same bundle again changes nothing.

    Raises:
        UserError: a bundle that `archive.read_bundle` refuses; files of it that are not of one model; a variant that is
            not installed; another model in its place. Nothing is written then.
    """
    with unpacked(bundle) as inside:
        manifest = _manifest_of(inside, bundle)
        place = results / manifest.place
        with owned(lock_beside(place), place):
            there = sorted(path.name for path in place.glob("[!.]*")) if place.is_dir() else []
            if there and not _is_same(place, manifest):
                raise UserError("A bundle's model must not replace another.", where=place, found=some(there),
                                mend="Remove or rename that folder, or name another with --results.")
            if not there:
                with whole_folder(place) as work:
                    shutil.copytree(inside, work, dirs_exist_ok=True)
    return place


def _manifest_of(folder: Path, bundle: Path) -> Manifest:
    """The manifest of an unpacked bundle, after a comparison with the files that the model is read from."""
    manifest = decode_manifest(read_json(folder / MANIFEST), str(bundle))
    runs = chosen_runs(folder, manifest.folds)
    plans = model_files(folder, runs)[0]
    for fold, run in runs.items():
        found = (run["variant"], run["encoder"]["id"], plans.plans_name)
        if found != (manifest.variant, manifest.encoder.id, manifest.plans):
            raise UserError("A bundle's manifest must name the model that its files are of.", where=bundle,
                            found=f"fold {fold} is {' '.join(found)}", mend=FAULTY)
    return manifest


def _is_same(place: Path, manifest: Manifest) -> bool:
    """Whether all files of the bundle are in `place`; it may hold more, such as folders of draws."""
    return all((place / name).is_file() and digest_of_file(place / name) == member.sha256
               for name, member in manifest.members.items())
