# SPDX-License-Identifier: Apache-2.0
"""Find the command that starts a sample node: the Go program, or its Python twin without Go.

The one idea: the Go program is built once into the user's cache under a name that is a hash of
its sources and the compiler, needs no network, and never touches the source tree.
FODC_SAMPLE_NODE=go or =python forces the choice.

    python e2e/node/build.py        prints the command, building first if necessary
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

NODE_DIRECTORY = Path(__file__).resolve().parent
OLDEST_GO = (1, 22)
BUILD_DEADLINE_S = 300.0
FORCE_VARIABLE = "FODC_SAMPLE_NODE"
VARIANTS = ("go", "python")


class BuildError(Exception):
    """The wanted variant of the sample node cannot be had; the text says why."""


def go_version() -> str | None:
    """Return what `go version` prints when a compiler that is new enough is there, else None."""
    compiler = shutil.which("go")
    if compiler is None:
        return None
    answer = subprocess.run(  # the compiler of this machine, fixed arguments
        [compiler, "version"], capture_output=True, text=True, timeout=30, check=False
    )
    found = re.search(r"go(\d+)\.(\d+)", answer.stdout)
    new_enough = found is not None and (int(found[1]), int(found[2])) >= OLDEST_GO
    return answer.stdout.strip() if new_enough else None


def source_files() -> list[Path]:
    """Return the files that decide what the Go program does."""
    patterns = ("*.go", "go.mod", "pages.table", "malformed.lines")
    return sorted(path for pattern in patterns for path in NODE_DIRECTORY.glob(pattern))


def source_digest(version: str) -> str:
    """Return a short hash of the sources and the compiler's version."""
    digest = hashlib.sha256(version.encode())
    for path in source_files():
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def cache_directory() -> Path:
    """Return where built nodes are kept, by the XDG rules."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    return root / "banyandb-fodc" / "sample-node"


@functools.cache
def built_node() -> Path:
    """Return the path of the Go program, building it when the cache does not have it.

    Raises BuildError when there is no Go compiler or it fails.
    """
    version = go_version()
    if version is None:
        raise BuildError(f"{FORCE_VARIABLE}=go needs Go {'.'.join(map(str, OLDEST_GO))} or newer")
    target = cache_directory() / source_digest(version) / "banyand"
    if not target.exists():
        compile_to(target)
    return target


def compile_to(target: Path) -> None:
    """Build beside the target and move it there, so that two builders never clash."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        output = Path(scratch) / "banyand"
        answer = subprocess.run(  # the compiler of this machine, fixed arguments
            [str(shutil.which("go")), "build", "-trimpath", "-o", str(output), "."],
            cwd=NODE_DIRECTORY,
            env=build_environment(),
            capture_output=True,
            text=True,
            timeout=BUILD_DEADLINE_S,
            check=False,
        )
        if answer.returncode != 0:
            raise BuildError(
                f"building the sample node failed; {FORCE_VARIABLE}=python does without Go:\n"
                f"{answer.stderr}"
            )
        output.replace(target)


def build_environment() -> dict[str, str]:
    """Return an environment in which the build can neither reach a network nor a workspace."""
    fixed = {
        "CGO_ENABLED": "0",
        "GOFLAGS": "-buildvcs=false",
        "GOPROXY": "off",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }
    return {**os.environ, **fixed}


def chosen_variant(prefer: str | None = None) -> str:
    """Return go or python: the environment decides, then prefer, then whether Go is there."""
    wanted = os.environ.get(FORCE_VARIABLE) or prefer
    if wanted is None:
        return "python" if go_version() is None else "go"
    if wanted not in VARIANTS:
        raise BuildError(f"{FORCE_VARIABLE}: {wanted!r} is neither go nor python")
    return wanted


def node_command(prefer: str | None = None) -> list[str]:
    """Return the command to which a role and flags are appended.

    Raises BuildError when the forced or preferred variant cannot be had.
    """
    if chosen_variant(prefer) == "go":
        return [str(built_node())]
    return [sys.executable, str(NODE_DIRECTORY / "twin")]


if __name__ == "__main__":
    print(shlex.join(node_command()))
