# SPDX-License-Identifier: Apache-2.0
"""Habits that a reader relies on, held by counting instead of by memory."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
SOURCE_ROOTS = ("proto/src", "agent/src", "operator/src")
LONGEST_MODULE = 500
LONGEST_FUNCTION = 60
NEEDS_SPDX = {".py", ".proto", ".go", ".sh", ".yaml", ".yml", ".toml"}
CONFUSING = sys.stdlib_module_names | {"helpers", "utils", "manager"}
# Standard modules whose name below a package of ours cannot be met by accident.
HARMLESS = {"mailbox", "errors", "code", "__main__", "__init__", "compression", "platform", "http"}


@cache
def tracked() -> tuple[Path, ...]:
    """Files of the repository: all that .gitignore does not name; needs no git and no checkout."""
    lines = (ROOT / ".gitignore").read_text().split()
    return tuple(sorted(_walked(ROOT, [line.removesuffix("/") for line in lines])))


def _walked(folder: Path, ignored: list[str]) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name == ".git" or any(fnmatchcase(path.name, one) for one in ignored):
            continue
        if path.is_dir():
            yield from _walked(path, ignored)
        elif path.is_file():
            yield path


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def python_files(*, generated: bool = False) -> list[Path]:
    return [
        path
        for path in tracked()
        if path.suffix == ".py" and (generated or "fodc_wire" not in path.parts)
    ]


def package_files() -> list[Path]:
    return [path for path in python_files() if name_of(path).startswith(SOURCE_ROOTS)]


@cache
def tree_of(path: Path) -> ast.Module:
    """What a file says; read once for all tests, since reading is what takes them their time."""
    return ast.parse(path.read_text())


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(tree_of(path)) if isinstance(node, kinds)]


def test_the_ignored_names_are_as_plain_as_the_walk_reads_them() -> None:
    """Nothing but a name, or a folder's name with a slash behind, and `*` in them."""
    lines = (ROOT / ".gitignore").read_text().splitlines()

    assert [line for line in lines if not re.fullmatch(r"[\w.*-]+/?", line)] == []


def test_the_walk_finds_what_git_finds() -> None:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("NO GIT HERE, or no checkout: the walk is compared with nothing")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    there = {name for name in listed.split("\0") if (ROOT / name).is_file()}

    assert {name_of(path) for path in tracked()} == there


def test_the_files_are_found_on_a_machine_without_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T8: eight tests of this folder failed for want of git."""
    monkeypatch.setenv("PATH", str(tmp_path))

    assert Path(__file__) in tracked.__wrapped__()


def test_every_source_file_names_its_license() -> None:
    missing = [
        name_of(path)
        for path in tracked()
        if path.suffix in NEEDS_SPDX
        and "SPDX-License-Identifier: Apache-2.0" not in path.read_text()[:400]
    ]

    assert missing == []


@pytest.mark.parametrize("folder", ["agent", "operator", "proto", "crds", "tests", "e2e", "bench"])
def test_no_top_folder_is_a_package(folder: str) -> None:
    """A package named `operator` on the path would stop the interpreter itself."""
    assert not (ROOT / folder / "__init__.py").exists()


def test_no_module_is_named_like_one_of_the_standard_library() -> None:
    names = {path.stem if path.stem != "__init__" else path.parent.name for path in package_files()}

    assert sorted((names & CONFUSING) - HARMLESS) == []


def test_no_module_is_longer_than_it_can_be_read() -> None:
    long = {
        name_of(p): n
        for p in package_files()
        if (n := len(p.read_text().splitlines())) > LONGEST_MODULE
    }

    assert long == {}


def test_no_function_is_longer_than_a_screen() -> None:
    long = [
        f"{name_of(path)}:{node.lineno} {node.name}"
        for path in python_files()
        for node in functions(path)
        if (node.end_lineno or 0) - node.lineno + 1 > LONGEST_FUNCTION
    ]

    assert long == []


def test_every_module_says_what_it_is_about() -> None:
    silent = [name_of(p) for p in python_files() if not ast.get_docstring(tree_of(p))]

    assert silent == []


def test_every_public_function_of_the_programs_says_what_it_does() -> None:
    silent = [
        f"{name_of(path)}:{node.lineno} {node.name}"
        for path in package_files()
        for node in tree_of(path).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]

    assert silent == []


def test_no_file_carries_a_path_of_somebodys_machine_or_an_open_task() -> None:
    pattern = re.compile(r"(?<![\w./])/(work|farm|root)/\w|\b(TODO|FIXME|XXX)\b")
    here = Path(__file__)
    found = [
        f"{name_of(path)}:{number}"
        for path in tracked()
        if path != here and path.suffix in {*NEEDS_SPDX, ".md", ".c", ".h", ".txt"}
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]

    assert found == []


def test_every_dataclass_of_the_agent_is_a_lean_one() -> None:
    """The standard decorator writes six functions for each class: 1.4 MiB beside a database."""
    lean = "proto/src/fodc_protocol/lean.py"
    found = [
        name_of(path)
        for path in package_files()
        if name_of(path).startswith(("agent/src", "proto/src/fodc_protocol"))
        and re.search(r"from dataclasses import (?:.*, )?dataclass\b", path.read_text())
    ]

    assert found == [lean]


def test_every_excuse_to_the_tools_has_its_reason_beside_it() -> None:
    """`noqa`, `type: ignore` and their kind are followed by words, or preceded by a comment."""
    excuse = re.compile(
        r"#\s*(?:noqa(?::\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*)?|type:\s*ignore(?:\[[\w,\- ]+\])?)"
        r"(?P<said>.*)$"
    )
    bare = []
    for path in python_files():
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines):
            match = excuse.search(line)
            before = number > 0 and lines[number - 1].lstrip().startswith("#")
            if (
                match
                and not re.search(r"\w", match["said"])
                and not before
                and path != Path(__file__)
            ):
                bare.append(f"{name_of(path)}:{number + 1}")

    assert bare == []


def test_every_library_has_the_version_that_images_and_ci_install() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [one for extra in project["optional-dependencies"].values() for one in extra]
    lines = re.findall(r"(?m)^([^#=\s]+)==(\S+)", (ROOT / "constraints.txt").read_text())
    pinned = {canonicalize_name(name): version for name, version in lines}
    unfit = [
        one
        for one in map(Requirement, wanted)
        if one.name != project["name"]
        and not one.specifier.contains(pinned.get(canonicalize_name(one.name), "0"))
    ]

    assert unfit == []
