from __future__ import annotations

import subprocess
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def mutations(script) -> ModuleType:
    return script("mutations")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    source.mkdir()
    (source / "area.py").write_text("def area(a, b):\n    return a * b + 0 * b\n")
    (source / "test_area.py").write_text("from area import area\n\n\ndef test_by_hand():\n    assert area(2, 3) == 6\n")
    (source / "ignored.txt").write_text("")
    (source / ".gitignore").write_text("ignored.txt\n")
    subprocess.run(["git", "init", "-q", source], check=True)
    return source


def test_a_fault_is_killed_or_survives_and_the_tree_is_sound_again(mutations: ModuleType, tree: Path,
                                                                   tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    mutations.copy_of_tree(tree, copy)
    assert sorted(path.name for path in copy.iterdir()) == [".gitignore", "area.py", "test_area.py"]
    sound = (copy / "area.py").read_text()

    def state_of(old: str, new: str, test: str = "test_area.py") -> tuple[str, str]:
        outcome = mutations.tried(mutations.Mutation("area.py", old, new, (test,), "a note"), copy)
        assert (copy / "area.py").read_text() == sound
        return outcome.state, outcome.by

    assert state_of("a * b", "a + b") == ("killed", "test_by_hand")
    assert state_of("+ 0 * b", "- 0 * b") == ("survived", "")
    assert state_of("b", "c") == ("stale", "")  # more than once
    assert state_of("a / b", "a + b") == ("stale", "")
    assert state_of("a * b", "a + b", "test_none.py") == ("broken", "")


def test_the_table_says_what_was_found_first_and_now(mutations: ModuleType) -> None:
    mutation = mutations.Mutation("samunet/a/b.py", "x", "y", ("t",), "a note", survived_first=True)
    assert mutations.table([mutations.Outcome(mutation, "killed", "test_c")]).splitlines()[2] == (
        "| `a/b.py` | a note | survived | killed | `test_c` |")


def test_each_fault_of_the_list_changes_its_file(mutations: ModuleType) -> None:
    assert len(mutations.MUTATIONS) >= 37
    assert all(each.old != each.new and each.tests and each.note for each in mutations.MUTATIONS)


def test_each_fault_of_the_list_applies_once_and_its_tests_exist(mutations: ModuleType) -> None:
    root = Path(mutations.__file__).parents[1]
    for each in mutations.MUTATIONS:
        assert (root / each.file).read_text(encoding="utf-8").count(each.old) == 1, each.note
        assert all((root / test).is_file() for test in each.tests), each.note
