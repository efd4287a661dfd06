"""A room imports only from the rooms above it, and command modules stay light to import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "samunet"
ROOMS = ["dataset", "planning", "registration", "networks", "preprocessing", "inputs", "variants", "evaluation",
         "inference", "training", "selection", "sharing", "quality", "benchmarking",
         "pretraining", "interaction", "annotation", "api", "cli"]
ROOT_MODULES = {"errors", "signals", "console", "temporaries", "digests", "files", "array_files", "locks", "schema",
                "extensions", "workers", "processes",
                "__init__"}
# What a base class or a registry may name for type checkers alone does not count; see _imports.
HEAVY = {"torch", "numpy", "scipy", "SimpleITK", "skimage", "segment_anything", "blosc2", "matplotlib", "sklearn"}


def _imports(tree: ast.AST) -> set[str]:
    """Full names of all modules that are imported anywhere below `tree`, `if TYPE_CHECKING` blocks left out."""
    found: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
        found |= _imports(node)
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_from_rooms_above(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    allowed = ROOT_MODULES if room in ROOT_MODULES else ROOT_MODULES | set(ROOMS[: ROOMS.index(room) + 1])
    imported = {name.split(".")[1] for name in _imports(ast.parse(path.read_text(encoding="utf-8")))
                if name.startswith("samunet.") and (PACKAGE / name.split(".")[1]).is_dir()}
    assert imported <= allowed, f"{path.name} imports from {sorted(imported - allowed)}"


def test_every_folder_is_a_known_room() -> None:
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(ROOMS)


def test_no_module_imports_itself_through_others() -> None:
    modules = {".".join(("samunet", *path.relative_to(PACKAGE).with_suffix("").parts)): path
               for path in PACKAGE.rglob("*.py")}
    imports = {name: _imports(ast.parse(path.read_text(encoding="utf-8"))) & set(modules)
               for name, path in modules.items()}
    while leaves := {name for name, found in imports.items() if not found & set(imports)}:
        imports = {name: found for name, found in imports.items() if name not in leaves}
    assert not imports, f"circles through {sorted(imports)}"


def _classes_of_variants() -> set[str]:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (PACKAGE / "variants").rglob("*.py")]
    return {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}


def _checked_classes(tree: ast.AST) -> set[str]:
    """The names in the second argument of all calls of isinstance and issubclass below `tree`."""
    calls = [node for node in ast.walk(tree)
             if isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass")]
    return {each.id if isinstance(each, ast.Name) else each.attr for call in calls for each in ast.walk(call.args[1])
            if isinstance(each, ast.Name | ast.Attribute)}


def test_no_code_outside_the_variants_checks_which_variant_it_has() -> None:
    """What differs between variants is a method of theirs; otherwise a new variant needs changes in other rooms."""
    classes = _classes_of_variants()
    assert {"Variant", "EmbeddingVariant", "FewshotVariant"} <= classes
    assert _checked_classes(ast.parse("isinstance(a, (b.FewshotVariant, int))")) == {"b", "FewshotVariant", "int"}
    found = {str(path.relative_to(PACKAGE)): sorted(checked) for path in PACKAGE.rglob("*.py")
             if "variants" not in path.parts
             if (checked := _checked_classes(ast.parse(path.read_text(encoding="utf-8"))) & classes)}
    assert not found


def test_command_modules_and_registry_import_nothing_heavy() -> None:
    modules = [f"samunet.cli.{path.stem}" for path in (PACKAGE / "cli").glob("*.py")] + ["samunet.variants.registry"]
    code = (f"import sys, importlib\nfor name in {modules!r}: importlib.import_module(name)\n"
            f"print(*sorted({HEAVY!r} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert done.stdout.split() == []


# What a command that the Python API has a function for may import: the API, and what its parser says.
THIN = ("extract_fingerprint", "plan_experiment", "preprocess", "plan_and_preprocess", "train", "predict",
        "evaluate_folder", "benchmark")
LIGHT = {"samunet", "samunet.signals", "samunet.errors", "samunet.console", "samunet.variants.registry",
         "samunet.variants.settings", "samunet.planning.encoder_spec"}


@pytest.mark.parametrize("name", THIN)
def test_commands_call_the_python_api_and_nothing_else(name: str) -> None:
    tree = ast.parse((PACKAGE / "cli" / f"{name}.py").read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree)
                if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "samunet"}
    assert {module for module in imported - LIGHT if module.split(".")[1] not in ("api", "cli")} == set()
    assert any(module.startswith("samunet.api.") for module in imported)


def test_training_and_prediction_start_without_torchvision_and_the_compiler() -> None:
    """They take longer to import than all the rest; segment-anything needs the one, torch's optimisers the other.

    Nor do SAM's decoder and the heads need them, or the libraries of nnU-Net's augmentation.
    """
    code = ("import sys, samunet.training.run, samunet.inference.predict_folder, samunet.variants.linear_head\n"
            "from samunet.networks.sam import build_sam\nbuild_sam('mini', 64)\n"
            "print(*sorted({'torchvision', 'torch._dynamo', 'segment_anything', 'scipy.signal', 'pandas'} "
            "& set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert done.stdout.split() == []


def test_prediction_starts_without_what_resamples_or_stores_arrays() -> None:
    code = ("import sys, samunet.api.prediction, samunet.variants.cnn_head, samunet.variants.hybrid_off\n"
            "import samunet.dataset.io.sitk_io\n"
            "print(*sorted({'scipy.ndimage', 'scipy.optimize', 'skimage', 'blosc2', 'matplotlib'} "
            "& set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert done.stdout.split() == []
