# SPDX-License-Identifier: Apache-2.0
"""Which files of this machine make up a Python with the agent's packages.

The one idea: everything keeps its path, so that neither the interpreter nor its libraries notice
that they are elsewhere; what an image of Python leaves out is left out here too.
"""

import functools
import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

DISTRIBUTION: Final = "banyandb-fodc"
EXTRA: Final = "agent"
OUR_PACKAGES: Final = ("fodc_agent", "fodc_protocol", "fodc_wire")
_LEFT_OUT: Final = frozenset(
    {
        "__pycache__",
        "site-packages",
        "dist-packages",
        "test",
        "tests",
        "idlelib",
        "lib2to3",
        "tkinter",
        "turtledemo",
        "ensurepip",
        "distutils",
        "pydoc_data",
    }
)
_LIBRARY: Final = re.compile(r"(?:=> )?(/\S+) \(0x")


def interpreter() -> Path:
    """Return the interpreter behind a virtual environment's link."""
    return Path(sys.executable).resolve()


def standard_library() -> Path:
    """Return its folder."""
    return Path(os.__file__).resolve().parent


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the regular files of a library that a program may need, in a fixed order."""
    for directory, folders, names in os.walk(folder):
        folders[:] = sorted(
            name for name in folders if name not in _LEFT_OUT and not name.startswith("config-")
        )
        for name in sorted(names):
            path = Path(directory) / name
            if path.suffix in {".pyc", ".a"} or path.name.startswith("_tkinter"):
                continue
            if path.is_file():
                yield path


def requirements() -> list[str]:
    """Return the distributions that the agent needs besides itself, theirs included."""
    found: dict[str, None] = {}
    waiting = list(_wanted(DISTRIBUTION, EXTRA))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = None
            waiting += _wanted(name, "")
    return sorted(found)


def _wanted(distribution: str, extra: str) -> Iterator[str]:
    """Yield the requirements whose only condition, if any, is this extra."""
    for line in importlib.metadata.requires(distribution) or ():
        requirement, _, condition = line.partition(";")
        if condition and f'extra == "{extra}"' not in condition.replace("'", '"'):
            continue
        name = re.match(r"[\w.-]+", requirement)
        assert name is not None, line
        yield name[0].lower()


def installed_files(distribution: str) -> Iterator[tuple[Path, str]]:
    """Yield the files of an installed package with their paths below site-packages."""
    for one in importlib.metadata.files(distribution) or ():
        path = Path(str(one.locate()))
        if ".." not in one.parts and path.suffix != ".pyc" and path.is_file():
            yield path, str(one)


def our_files() -> Iterator[tuple[Path, str]]:
    """Yield the agent's own modules with their paths below site-packages."""
    for package in OUR_PACKAGES:
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.submodule_search_locations is not None
        root = Path(spec.submodule_search_locations[0])
        for path in files_below(root):
            yield path, f"{package}/{path.relative_to(root)}"


def shared_libraries(programs: Iterable[Path]) -> list[Path]:
    """Return the libraries that these need, the loader included, as the loader finds them."""
    return sorted({path for program in programs for path in _needed(program)})


@functools.cache
def _needed(program: Path) -> Sequence[Path]:
    answer = subprocess.run(
        ["ldd", str(program)], capture_output=True, text=True, timeout=20, check=False
    )
    return [Path(path) for path in _LIBRARY.findall(answer.stdout)]
