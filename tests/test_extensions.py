"""Variants, readers and loggers of other packages: found by entry points, imported when used, refused by name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from samunet import extensions
from samunet.dataset.io.readers import reader_named, reader_names
from samunet.errors import UserError
from samunet.training.loggers import makers_of
from samunet.variants.registry import entry, is_known, listed, variant_class

VARIANT = """
from torch import nn
from samunet.variants.kinds import EmbeddingVariant
class Mine(EmbeddingVariant):
    def build_network(self): return nn.Conv2d(self.context.embedding_channels, self.labels.channels, 1)
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed packages."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    extensions._points.cache_clear()
    yield folder
    extensions._points.cache_clear()


def install(site: Path, package: str, group: str, points: dict[str, str], code: str = "") -> None:
    """Write what pip writes of a package that has one module of its own name."""
    sys.modules.pop(package, None)
    (site / f"{package}.py").write_text(code)
    information = site / f"{package}-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
    )
    extensions._points.cache_clear()


def test_a_variant_is_listed_without_being_imported_and_reads_what_its_base_class_reads(site: Path) -> None:
    install(site, "own_head", extensions.VARIANTS, {"mine": "own_head:Mine"}, VARIANT)
    assert listed()["mine"] == "from own_head 1.0" and is_known("mine") and "own_head" not in sys.modules
    assert (entry("mine").needs, entry("mine").prompts, entry("mine").reads_embeddings) == ("embeddings", (), True)
    assert variant_class("mine").__module__ == "own_head"


def test_a_name_that_two_packages_use_is_refused_with_both_named(site: Path) -> None:
    install(site, "first_head", extensions.VARIANTS, {"mine": "first_head:Mine"}, VARIANT)
    install(site, "second_head", extensions.VARIANTS, {"mine": "second_head:Mine"}, VARIANT)
    with pytest.raises(UserError, match="found: mine of first_head 1.0 and of second_head 1.0"):
        listed()


@pytest.mark.parametrize("name", ["unet", "hybrid_off"])
def test_a_name_of_samunet_is_refused(site: Path, name: str) -> None:
    install(site, "own_head", extensions.VARIANTS, {name: "own_head:Mine"}, VARIANT)
    with pytest.raises(UserError, match=f"found: {name} of samunet and of own_head 1.0"):
        entry("cnn_head")


@pytest.mark.parametrize("name", ["a__b", "a_", "a-b", "../a"])
def test_a_name_that_no_folder_can_carry_is_refused(site: Path, name: str) -> None:
    install(site, "own_head", extensions.VARIANTS, {name: "own_head:Mine"}, VARIANT)
    with pytest.raises(UserError, match=r"(?s)single underscores.*of own_head 1\.0"):
        listed()


@pytest.mark.parametrize(("code", "found"), [
    ("import no_such_module", "ModuleNotFoundError"), ("Other = 1", "AttributeError"), ("1 / 0", "ZeroDivisionError"),
    ("class Mine: pass", "own_head.Mine"),
])
def test_a_package_that_is_broken_is_named(site: Path, code: str, found: str) -> None:
    install(site, "own_head", extensions.VARIANTS, {"mine": "own_head:Mine"}, code)
    with pytest.raises(UserError) as caught:
        entry("mine")
    assert found in caught.value.found and caught.value.where == "mine = own_head:Mine of own_head 1.0"


def test_a_reader_is_named_as_samunets_own_are(site: Path) -> None:
    install(site, "own_format", extensions.READERS, {"OwnIO": "own_format:OwnIO"}, "class OwnIO:\n    name = 'OwnIO'\n")
    assert reader_names()[-1] == "OwnIO" and reader_named("OwnIO").name == "OwnIO"
    install(site, "other_format", extensions.READERS, {"SimpleITKIO": "other_format:X"})
    with pytest.raises(UserError, match=r"SimpleITKIO of samunet and of other_format 1\.0"):
        reader_names()


def test_a_logger_is_made_by_its_name_alone_and_may_not_take_a_name_of_samunet(site: Path) -> None:
    install(site, "own_logger", extensions.LOGGERS, {"own": "own_logger:make"}, "make = 7")
    assert makers_of([]) == {} and "own_logger" not in sys.modules
    assert makers_of(["own"]) == {"own": 7}
    with pytest.raises(UserError, match=r"(?s)found: other.*Choose from: tensorboard, wandb, own\.") as caught:
        makers_of(["other"])
    assert caught.value.where == "--logger"
    install(site, "other_logger", extensions.LOGGERS, {"wandb": "other_logger:make"})
    with pytest.raises(UserError, match=r"wandb of samunet and of other_logger 1\.0"):
        makers_of([])
