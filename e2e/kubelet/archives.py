# SPDX-License-Identifier: Apache-2.0
"""Container images without a builder or a registry: archives that `ctr images import` reads.

The one idea: an image is some tar files and two JSON documents. Nothing in it depends on the time
or on the user who wrote it, so equal contents are equal images.
"""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, or with `target` one symbolic link, at an absolute path of the image."""

    path: str
    content: bytes = b""
    mode: int = 0o644
    target: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the image's configuration tells a runtime."""

    entrypoint: Sequence[str]
    user: str = ""
    env: Mapping[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, object]:
        """Return it as the image format writes it."""
        variables = [f"{name}={value}" for name, value in self.env.items()]
        return {"Entrypoint": list(self.entrypoint), "User": self.user, "Env": variables}


def layer(entries: Iterable[Entry]) -> bytes:
    """Return a layer with these files; all belong to root and can be read by all."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for folder, entry in _with_folders(entries):
            if folder:
                archive.addfile(_head(folder, tarfile.DIRTYPE, 0o755))
                continue
            assert entry is not None
            if entry.target:
                head = _head(entry.path, tarfile.SYMTYPE, 0o777)
                head.linkname = entry.target
                archive.addfile(head)
                continue
            head = _head(entry.path, tarfile.REGTYPE, entry.mode)
            head.size = len(entry.content)
            archive.addfile(head, io.BytesIO(entry.content))
    return output.getvalue()


def _with_folders(entries: Iterable[Entry]) -> Iterable[tuple[str, Entry | None]]:
    """Yield each folder once before what is in it."""
    known = {"/"}
    for entry in entries:
        for parent in reversed(Path(entry.path).parents):
            if str(parent) not in known:
                known.add(str(parent))
                yield str(parent), None
        yield "", entry


def _head(path: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    head = tarfile.TarInfo(path.lstrip("/"))
    head.type = kind
    head.mode = mode
    return head


def write_image(path: Path, reference: str, layers: Sequence[bytes], settings: Settings) -> None:
    """Write an image as `docker save` does, its layers from the lowest to the highest."""
    names = [hashlib.sha256(one).hexdigest() for one in layers]
    configuration = json.dumps(
        {
            "architecture": ARCHITECTURES[platform.machine()],
            "os": "linux",
            "config": settings.document(),
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{name}" for name in names]},
        }
    ).encode()
    config_name = f"{hashlib.sha256(configuration).hexdigest()}.json"
    manifest = [
        {
            "Config": config_name,
            "RepoTags": [reference],
            "Layers": [f"{name}.tar" for name in names],
        }
    ]
    files = [Entry(f"/{name}.tar", one) for name, one in zip(names, layers, strict=True)]
    files += [Entry(f"/{config_name}", configuration)]
    files += [Entry("/manifest.json", json.dumps(manifest).encode())]
    path.write_bytes(layer(files))
