"""A bundle's model in the results folder: found there, and never in the place of another."""

from __future__ import annotations

import pytest
from bundles import contents_of, manifest_for, prior_model, write_zip

from samunet.cli.install_pretrained_model_from_zip import main
from samunet.errors import UserError
from samunet.inference.model_folder import find_model
from samunet.sharing.export import export_model
from samunet.sharing.install import install_model


@pytest.fixture
def bundle(tmp_path):
    export_model(prior_model(tmp_path / "trained"), None, tmp_path / "model.zip")
    return tmp_path / "model.zip"


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_installed_model_is_found_and_has_the_bundles_files(bundle, tmp_path):
    assert main([str(bundle), "--results", str(tmp_path / "results")]) == 0
    found = find_model(tmp_path / "results", dataset="900", variant="label_prior").folder
    assert found == tmp_path / "results/Dataset900_Phantom/label_prior__samunetPlans__untrained"
    assert files_of(tmp_path / "results") == {
        f"{found.relative_to(tmp_path / 'results').as_posix()}/{name}": content
        for name, content in contents_of(bundle).items()}


def test_the_same_bundle_again_changes_nothing_and_another_is_refused(bundle, tmp_path):
    place = install_model(bundle, tmp_path / "results")
    (place / "notes.txt").write_text("mine")
    before = files_of(tmp_path / "results")
    assert install_model(bundle, tmp_path / "results") == place
    assert files_of(tmp_path / "results") == before
    (place / "plans.json").write_text("{}")
    with pytest.raises(UserError, match="must not replace another"):
        install_model(bundle, tmp_path / "results")
    assert files_of(tmp_path / "results") == {**before, "Dataset900_Phantom/label_prior__samunetPlans__untrained/"
                                              "plans.json": b"{}"}


@pytest.mark.parametrize(
    "changes, message",
    [({"variant": "atlas"}, "fold 0 is label_prior untrained samunetPlans"),
     ({"plans": "otherPlans"}, "fold 0 is label_prior untrained samunetPlans")],
)
def test_a_manifest_of_another_model_than_its_files_is_refused(bundle, tmp_path, changes, message):
    contents = contents_of(bundle)
    contents["manifest.json"] = manifest_for(contents, **changes)
    other = write_zip(tmp_path / "other.zip", [*contents.items()])
    with pytest.raises(UserError, match=message):
        install_model(other, tmp_path / "results")
    assert not (tmp_path / "results").exists()
