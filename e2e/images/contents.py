# SPDX-License-Identifier: Apache-2.0
"""Look into an archive as `docker save` writes it: its settings, its files, and what they weigh."""

import gzip
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

SBOM: Final = "opt/fodc/sbom.cdx.json"
_GONE: Final = ".wh."


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in an image."""

    settings: dict[str, Any]
    """What it tells a runtime: user, labels, entry point."""
    files: frozenset[str]
    """Paths of files and links, without the leading slash."""
    layer_bytes: tuple[int, ...]
    """Sizes of the layers without compression, those of the base first."""
    sbom: bytes
    """Its list of what it is made of; empty where it has none."""


def contents_of(archive: Path) -> Contents:
    """Read an archive; raises OSError and tarfile.TarError."""
    files: set[str] = set()
    sizes = []
    sbom = b""
    with tarfile.open(archive) as whole:
        (manifest,) = json.loads(_read(whole, "manifest.json"))
        settings = json.loads(_read(whole, manifest["Config"]))["config"]
        for name in manifest["Layers"]:
            member = whole.getmember(name)
            stream = whole.extractfile(member)
            assert stream is not None, name
            opened: Any = gzip.GzipFile(fileobj=stream) if _is_gzip(whole, name) else stream
            with tarfile.open(fileobj=opened, mode="r|") as layer:
                for entry in layer:
                    _apply(files, entry)
                    if entry.name.removeprefix("./") == SBOM:
                        told = layer.extractfile(entry)
                        sbom = told.read() if told is not None else b""
                sizes.append(layer.offset)
    return Contents(settings, frozenset(files), tuple(sizes), sbom)


def _read(whole: tarfile.TarFile, name: str) -> bytes:
    stream = whole.extractfile(name)
    assert stream is not None, name
    return stream.read()


def _is_gzip(whole: tarfile.TarFile, name: str) -> bool:
    stream = whole.extractfile(name)
    return stream is not None and stream.read(2) == b"\x1f\x8b"


def _apply(files: set[str], entry: tarfile.TarInfo) -> None:
    """Add what a layer adds, and take away what it takes away."""
    path = entry.name.removeprefix("./").rstrip("/")
    folder, _, last = path.rpartition("/")
    if last.startswith(_GONE):
        gone = f"{folder}/{last.removeprefix(_GONE)}".lstrip("/")
        files -= {one for one in files if one == gone or one.startswith(f"{gone}/")}
    elif not entry.isdir():
        files.add(path)
