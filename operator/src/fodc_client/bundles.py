# SPDX-License-Identifier: Apache-2.0
"""Fetching an incident to a file: one tar, whole, with every artifact verified, or not at all."""

import asyncio
import hashlib
import os
import tarfile
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from fodc_api.incidents import IncidentRecord
from fodc_client.api import ProxyClient
from fodc_client.downloads import digest_of, give_name, sync, write
from fodc_client.errors import DownloadError
from fodc_protocol.ids import safe_name


class Bundle(NamedTuple):
    """A file that holds an incident, and how many artifacts are in it."""

    path: Path
    size_bytes: int
    artifacts: int


async def save(client: ProxyClient, incident_id: str, directory: Path) -> Bundle:
    """Fetch an incident into `directory`; nothing is overwritten.

    Raises DownloadError when it does not arrive whole, when an artifact in it is not what its
    manifest says, or when the file cannot be written.
    """
    goal = directory / f"{safe_name(incident_id)}.tar"
    part = directory / f".{safe_name(incident_id)}.{os.getpid()}.part"
    try:
        with part.open("w+b") as file:
            await _fetch(client, incident_id, file)
            length = file.tell()
            await asyncio.to_thread(sync, file)
            count = await asyncio.to_thread(_verified, file, incident_id)
            digest = await asyncio.to_thread(digest_of, file)
        path = give_name(part, goal, digest)
    except OSError as error:
        raise DownloadError(f"cannot write {goal}: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)
    return Bundle(path, length, count)


async def _fetch(client: ProxyClient, incident_id: str, file: BinaryIO) -> None:
    async with client.bundle(incident_id) as download:
        async for chunk in download.chunks:
            write(file, chunk)
    if download.size_bytes is not None and file.tell() != download.size_bytes:
        raise _wrong(incident_id, f"{file.tell()} of {download.size_bytes} bytes arrived")


def _verified(file: BinaryIO, incident_id: str) -> int:
    """Hold each artifact of a bundle against its manifest; return how many there are."""
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            first, *others = tar.getmembers()
            checksums = _checksums(_read(tar, first))
            for member in others:
                found = hashlib.sha256(_read(tar, member)).hexdigest()
                if found not in checksums:
                    raise _wrong(incident_id, f"{member.name} is not what its manifest says")
    except (tarfile.TarError, msgspec.MsgspecError, ValueError) as error:
        raise _wrong(incident_id, f"it is no bundle ({error})") from error
    return len(others)


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    content = tar.extractfile(member)
    return b"" if content is None else content.read()


def _checksums(record: bytes) -> set[str]:
    told = msgspec.json.decode(record, type=IncidentRecord)
    return {one.artifact.sha256 for one in told.artifacts if one.artifact is not None}


def _wrong(incident_id: str, why: str) -> DownloadError:
    return DownloadError(
        f"incident {incident_id}: {why}; nothing was kept. Fetch it again: "
        f"fodc incidents get {incident_id}"
    )
