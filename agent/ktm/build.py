# SPDX-License-Identifier: Apache-2.0
"""Builds the blobs of kernel telemetry that the agent loads: `make ktm`, or --check to compare.

The one idea: clang compiles, bpftool turns an object into a loader program with its data (a light
skeleton), and here only these two are taken out of the C header that bpftool writes. What runs on a
node is a file of bytes and needs neither compiler nor libbpf. The object itself is kept beside it,
for machines on which only libbpf can load it.

Needs Debian's clang, llvm, bpftool and libbpf-dev.
"""

import argparse
import ast
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
BLOBS: Final = HERE.parent / "src" / "fodc_agent" / "ktm" / "blobs"
ARCHITECTURES: Final = {"x86_64": "x86", "aarch64": "arm64"}
TOOLS: Final = ("clang", "llvm-strip", "bpftool")
# What the committed blobs were built with, Debian 12's: others give other bytes.
BUILT_WITH: Final = {"clang": "14.0.6", "bpftool": "v7.1.0"}

_DATA = re.compile(r"opts\.(data|insns) = \(void \*\)(\"(?:[^\"\\]|\\.)*\");", re.DOTALL)
_FIELDS = re.compile(r"struct bpf_(map|prog)_desc (\w+);")


def main() -> int:
    """Build every group for every architecture; return 1 where a committed blob differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with what is committed")
    is_check = parser.parse_args().check
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        print(
            f"kernel telemetry is not built: {', '.join(missing)} missing; "
            "apt-get install clang llvm bpftool libbpf-dev"
        )
        return 0 if is_check else 1
    if is_check and (other := _other_versions()):
        print(f"kernel telemetry is not compared with what is committed: {other}")
        return 0
    different = [
        path.relative_to(BLOBS).as_posix()
        for path, blob in built()
        if not _settled(path, blob, is_check=is_check)
    ]
    if different:
        print(f"built anew they differ: {', '.join(different)}; run `make ktm` and commit them")
    return int(bool(different))


def _other_versions() -> str:
    """Return which tools are here of another version than the one of the blobs, "" for none."""
    said = {tool: _run(tool, "--version").splitlines()[0] for tool in BUILT_WITH}
    wrong = [tool for tool, version in BUILT_WITH.items() if version not in said[tool]]
    return "; ".join(f"{said[tool]}, built with {BUILT_WITH[tool]}" for tool in wrong)


def built():
    """Yield path and bytes of each blob."""
    for architecture, target in ARCHITECTURES.items():
        for source in sorted(HERE.glob("*.bpf.c")):
            name = source.name.removesuffix(".bpf.c")
            object_bytes, blob = made_of(source, name, target)
            yield BLOBS / architecture / f"{name}.blob", blob
            yield BLOBS / architecture / f"{name}.o", object_bytes


def _settled(path: Path, blob: bytes, *, is_check: bool) -> bool:
    if is_check:
        return path.exists() and path.read_bytes() == blob
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(blob)
    print(f"{path.relative_to(BLOBS)} {len(blob)} bytes")
    return True


def made_of(source: Path, name: str, target: str) -> tuple[bytes, bytes]:
    """Return the object of one group, and its blob: a line of JSON, data, instructions."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / f"{name}.o"
        _run(
            "clang",
            "-g",
            "-O2",
            "-target",
            "bpf",
            f"-D__TARGET_ARCH_{target}",
            "-mcpu=v3",
            "-Wall",
            "-Werror",
            f"-ffile-prefix-map={HERE}=.",  # line infos name files
            "-c",
            source.name,
            "-o",
            str(made),
        )
        _run("llvm-strip", "-g", str(made))
        header = _run("bpftool", "gen", "skeleton", "-L", str(made), "name", name)
        return made.read_bytes(), packed(header)


def packed(header: str) -> bytes:
    """Return what of a header is needed at run time; raises ValueError for another form of it."""
    parts = {kind: _bytes_of(text) for kind, text in _DATA.findall(header)}
    fields = _FIELDS.findall(header)
    if set(parts) != {"data", "insns"} or not fields:
        raise ValueError("bpftool wrote a header of another form than is known here")
    told = {
        "maps": [name for kind, name in fields if kind == "map"],
        "programs": [name for kind, name in fields if kind == "prog"],
        "data": len(parts["data"]),
        "instructions": len(parts["insns"]),
    }
    return json.dumps(told).encode() + b"\n" + parts["data"] + parts["insns"]


def _bytes_of(literal: str) -> bytes:
    """Return the bytes of a string of C, which has the escapes of Python's."""
    joined = literal.replace("\\\n", "")
    return bytes(ast.literal_eval("b" + joined))


def _run(*command: str) -> str:
    done = subprocess.run(command, cwd=HERE, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
