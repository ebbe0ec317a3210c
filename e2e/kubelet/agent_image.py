# SPDX-License-Identifier: Apache-2.0
"""The agent's image made from this machine's Python, set up as agent/Dockerfile says.

The one idea: what the image says about environment, user and command is read from the Dockerfile,
and the files are those that a builder would install; packing them takes three seconds.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from e2e.kubelet import python_files
from e2e.kubelet.archives import Entry, Settings, layer, write_image

DOCKERFILE: Final = Path(__file__).resolve().parents[2] / "agent" / "Dockerfile"
HOME: Final = "/opt/fodc"
COMPILE_DEADLINE_S: Final = 240


@dataclass(frozen=True, slots=True)
class Placed:
    """A file of this machine and where it is in the image."""

    source: Path
    path: str


def write(path: Path, reference: str) -> None:
    """Write the archive of the image."""
    settings = dockerfile_settings(DOCKERFILE.read_text())
    ours = [Placed(source, f"{_site_packages()}/{at}") for source, at in python_files.our_files()]
    files = [*_python_files(), *_packages(), *ours]
    content = layer([*_compiled(files, settings.env), *_environment()])
    write_image(path, reference, [content], settings)


# ---- what the Dockerfile says -----------------------------------------------------------------


def dockerfile_settings(text: str) -> Settings:
    """Return ENV, USER and ENTRYPOINT of the last stage; KeyError when one is missing."""
    stage = re.split(r"(?m)^FROM ", text.replace("\\\n", " "))[-1]
    said: dict[str, str] = {}
    for line in stage.splitlines():
        word, _, rest = line.partition(" ")
        said[word] = rest.strip()
    variables = dict(pair.split("=", 1) for pair in shlex.split(said["ENV"]))
    variables["PATH"] = variables["PATH"].replace("$PATH", "/usr/local/bin:/usr/bin:/bin")
    entrypoint = re.findall(r'"([^"]+)"', said["ENTRYPOINT"])
    return Settings(entrypoint, said["USER"], variables)


# ---- files ------------------------------------------------------------------------------------


def _python_files() -> Iterator[Placed]:
    program = python_files.interpreter()
    library = list(python_files.files_below(python_files.standard_library()))
    for path in (program, *library, *_libraries([program, *library])):
        yield Placed(path, str(path))


def _packages() -> Iterator[Placed]:
    extensions = []
    for name in python_files.requirements():
        for source, at in python_files.installed_files(name):
            extensions.append(source)
            yield Placed(source, f"{_site_packages()}/{at}")
    for path in _libraries(extensions):
        yield Placed(path, str(path))


def _libraries(files: Iterable[Path]) -> list[Path]:
    return python_files.shared_libraries(
        path for path in files if ".so" in path.suffixes or path == python_files.interpreter()
    )


def _site_packages() -> str:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return f"{HOME}/lib/python{version}/site-packages"


def _environment() -> list[Entry]:
    """Return what makes a virtual environment and the command of it."""
    program = python_files.interpreter()
    command = (
        f"#!{HOME}/bin/python\nfrom fodc_agent.__main__ import main\nraise SystemExit(main())\n"
    )
    return [
        Entry(f"{HOME}/bin/python", target=str(program)),
        Entry(f"{HOME}/bin/fodc-agent", command.encode(), 0o755),
        Entry(f"{HOME}/pyvenv.cfg", f"home = {program.parent}\n".encode()),
    ]


# ---- compiling --------------------------------------------------------------------------------


def _compiled(files: Sequence[Placed], env: Mapping[str, str]) -> list[Entry]:
    """Return the files and their bytecode, compiled as the Dockerfile does."""
    with tempfile.TemporaryDirectory(prefix="fodc-image-") as folder:
        for one in files:
            copy = Path(folder + one.path)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(one.source, copy)
            copy.chmod(0o755 if os.access(one.source, os.X_OK) else 0o644)
        _compile(folder, env)
        return [_entry(path, folder) for path in sorted(Path(folder).rglob("*")) if path.is_file()]


def _compile(folder: str, env: Mapping[str, str]) -> None:
    how = ("-q", "-j", "0", "--invalidation-mode", "unchecked-hash", "-s", folder, "-p", "/")
    chosen = {name: text for name, text in env.items() if name == "PYTHONNODEBUGRANGES"}
    subprocess.run(
        [sys.executable, "-OO", "-m", "compileall", *how, folder],
        env={**os.environ, **chosen},
        timeout=COMPILE_DEADLINE_S,
        check=True,
        stdout=subprocess.DEVNULL,
    )


def _entry(path: Path, folder: str) -> Entry:
    return Entry(str(path)[len(folder) :], path.read_bytes(), path.stat().st_mode & 0o755 | 0o444)
