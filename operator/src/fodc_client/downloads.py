# SPDX-License-Identifier: Apache-2.0
"""Fetching artifacts to files: whole and verified under their name, or not at all.

The one idea: bytes go to a hidden `.part` file beside the goal; size and SHA-256 are compared, the
file is synced, and only then does it get its name. A cut is resumed where it happened.
"""

import asyncio
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from fodc_client.api import Download, ProxyClient
from fodc_client.errors import BadUsageError, DownloadError, UnreachableError
from fodc_client.formats import stamp
from fodc_protocol.ids import safe_name
from fodc_protocol.profiles import extension_of

_ATTEMPTS: Final = 4
_PAUSE_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Wanted:
    """An artifact to fetch and what is known about it; an empty `sha256` means unknown.

    `captured_at` is a time of the API.
    """

    artifact_id: str
    node_id: str
    profile: str
    size_bytes: int | None
    sha256: str
    captured_at: str | None


@dataclass(frozen=True, slots=True)
class Saved:
    """A file that holds a whole, verified artifact."""

    wanted: Wanted
    path: Path
    size_bytes: int
    sha256: str


# ---- names: pure ----------------------------------------------------------------------------


def file_name(wanted: Wanted) -> str:
    """Return `<node>-<profile>-<time>` with the extension of the kind; always one path part."""
    when = wanted.artifact_id if wanted.captured_at is None else stamp(wanted.captured_at)
    name = f"{wanted.node_id or 'node'}-{wanted.profile or 'artifact'}-{when}"
    return safe_name(name) + extension_of(wanted.profile)


def numbered(path: Path, number: int) -> Path:
    """Return `path` itself for 1, else with `-2`, `-3` … before its extension."""
    if number == 1:
        return path
    name, dot, extension = path.name.partition(".")
    for double in ("pb.gz", "om.gz"):
        if path.name.endswith(f".{double}"):
            return path.with_name(f"{path.name.removesuffix(double)[:-1]}-{number}.{double}")
    if "." in path.name:
        name, dot, extension = path.stem, "", path.suffix
    return path.with_name(f"{name}-{number}{dot}{extension}")


# ---- files ----------------------------------------------------------------------------------


def prepare_directory(path: Path) -> Path:
    """Make the directory and be sure that files can be written there; raises BadUsageError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadUsageError(f"--output-dir {path}: {error.strerror}") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise BadUsageError(f"--output-dir {path}: no permission to write there")
    return path


async def save(
    client: ProxyClient,
    wanted: Wanted,
    directory: Path,
    *,
    name: str = "",
    on_retry: Callable[[str], None] = lambda _: None,
) -> Saved:
    """Fetch one artifact into `directory` and return where it is; nothing is overwritten.

    Raises DownloadError when it does not arrive whole in four attempts, has another checksum, or
    the file cannot be written.
    """
    goal = directory / (name or file_name(wanted))
    part = directory / f".{safe_name(wanted.artifact_id)}.{os.getpid()}.part"
    try:
        with part.open("wb") as file:
            digest = await _fetch(client, wanted, file, on_retry)
            length = file.tell()
            await asyncio.to_thread(sync, file)
        path = give_name(part, goal, digest)
    except OSError as error:
        raise DownloadError(f"cannot write {goal}: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)
    return Saved(wanted, path, length, digest)


def sync(file: BinaryIO) -> None:
    """Bring what was written to the disk."""
    file.flush()
    os.fsync(file.fileno())


def give_name(part: Path, goal: Path, sha256: str) -> Path:
    """Link the finished file to the first free name; a file with the same content is enough."""
    number = 1
    while True:
        path = numbered(goal, number)
        try:
            os.link(part, path)
        except FileExistsError:
            if hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
                return path
            number += 1
        except OSError:
            # Some file systems know no hard links; a rename is as atomic, but may replace.
            if not path.exists():
                return part.rename(path)
            number += 1
        else:
            return path


async def _fetch(
    client: ProxyClient, wanted: Wanted, file: BinaryIO, on_retry: Callable[[str], None]
) -> str:
    """Write all bytes to `file` and return their SHA-256; resume after a cut."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            announced = await _append(client, wanted, file)
        except UnreachableError as error:
            if attempt == _ATTEMPTS:
                raise DownloadError(_cut(wanted, file.tell())) from error
            on_retry(f"{_cut(wanted, file.tell())} Trying again.")
            await asyncio.sleep(_PAUSE_S * attempt)
        else:
            return await _verified(wanted, file, announced)
    raise AssertionError("unreachable: the last attempt returns or raises")


async def _append(client: ProxyClient, wanted: Wanted, file: BinaryIO) -> Download:
    async with client.download(wanted.artifact_id, offset_bytes=file.tell()) as download:
        file.seek(download.start_bytes)
        file.truncate()
        async for chunk in download.chunks:
            write(file, chunk)
    return download


def write(file: BinaryIO, chunk: bytes) -> None:
    """Write; a full disk is an error of this machine and not of the connection."""
    try:
        file.write(chunk)
    except OSError as error:
        raise DownloadError(
            f"cannot write to {Path(file.name).parent}: {error.strerror}"
        ) from error


def _cut(wanted: Wanted, got_bytes: int) -> str:
    whole = "" if wanted.size_bytes is None else f" of {wanted.size_bytes}"
    return f"artifact {wanted.artifact_id}: only {got_bytes}{whole} bytes arrived."


async def _verified(wanted: Wanted, file: BinaryIO, announced: Download) -> str:
    length = file.tell()
    for expected in (wanted.size_bytes, announced.size_bytes):
        if expected is not None and expected != length:
            raise DownloadError(
                f"artifact {wanted.artifact_id}: {length} bytes arrived, {expected} were announced;"
                f" nothing was kept. Fetch it again: fodc artifacts get {wanted.artifact_id}"
            )
    found = await asyncio.to_thread(digest_of, file)
    for expected_sha256 in (wanted.sha256, announced.sha256):
        if expected_sha256 and expected_sha256 != found:
            raise DownloadError(
                f"artifact {wanted.artifact_id}: the checksum differs (sha256 {found[:12]}…, "
                f"announced {expected_sha256[:12]}…); nothing was kept. Fetch it again: "
                f"fodc artifacts get {wanted.artifact_id}"
            )
    return found


def digest_of(file: BinaryIO) -> str:
    """Return the SHA-256 of a file as it is now."""
    file.flush()
    with Path(file.name).open("rb") as written:
        return hashlib.file_digest(written, "sha256").hexdigest()
