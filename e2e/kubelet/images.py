# SPDX-License-Identifier: Apache-2.0
"""The images of a node: pause, the sample node named banyand, and the agent that users install.

The one idea: programs are compiled into the user's cache and packed into the folder of the run; the
agent's image is the one of `make images`. Nothing comes from a registry of the outside.
"""

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from e2e.images import building, wanted
from e2e.kubelet.archives import Entry, Settings, layer, write_image
from e2e.kubelet.configuration import PAUSE_IMAGE
from e2e.node import build as node_build

DATABASE_IMAGE: Final = "fodc.test/banyandb:1"
AGENT_IMAGE: Final = wanted.AGENT.reference
PAUSE_SOURCES: Final = Path(__file__).with_name("pause")


def build_programs() -> None:
    """Build what the cache does not have; raises BuildError or ImagesError."""
    built_pause()
    node_build.built_node()
    building.built()


def write_images(folder: Path) -> list[Path]:
    """Return the archives of all three; raises BuildError or ImagesError."""
    return [*write_programs(folder), building.built()[wanted.AGENT]]


def write_programs(folder: Path) -> list[Path]:
    """Write the archives of pause and sample node and return them; raises BuildError."""
    folder.mkdir(parents=True, exist_ok=True)
    pause, database = folder / "pause.tar", folder / "banyandb.tar"
    _write_program(pause, PAUSE_IMAGE, built_pause(), "/pause")
    _write_program(database, DATABASE_IMAGE, node_build.built_node(), "/banyand")
    return [pause, database]


def _write_program(path: Path, reference: str, program: Path, at: str) -> None:
    """Write an image of one static program and nothing else."""
    content = layer([Entry(at, program.read_bytes(), 0o755)])
    write_image(path, reference, [content], Settings(entrypoint=(at,)))


def built_pause() -> Path:
    """Return the path of the pause program, compiling it when the cache does not have it."""
    digest = hashlib.sha256(str(node_build.go_version()).encode())
    for source in sorted(PAUSE_SOURCES.iterdir()):
        digest.update(source.name.encode() + source.read_bytes())
    target = node_build.cache_directory().parent / "pause" / digest.hexdigest()[:16] / "pause"
    if not target.exists():
        _compile(target)
    return target


def _compile(target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        output = Path(scratch) / "pause"
        flags = ["-trimpath", "-ldflags=-s -w", "-o", str(output), "."]
        answer = subprocess.run(  # the compiler of this machine
            [str(shutil.which("go")), "build", *flags],
            cwd=PAUSE_SOURCES,
            env=node_build.build_environment(),
            capture_output=True,
            text=True,
            timeout=node_build.BUILD_DEADLINE_S,
            check=False,
        )
        if answer.returncode != 0:
            raise node_build.BuildError(f"building the pause program failed:\n{answer.stderr}")
        output.replace(target)
