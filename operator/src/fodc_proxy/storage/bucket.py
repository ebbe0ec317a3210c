# SPDX-License-Identifier: Apache-2.0
"""Objects in a bucket of S3, Google Cloud Storage or Azure, through obstore.

The one idea: who writes is an object too.  Its epoch grows by a conditional put each time the
writer changes, every write looks at it first, and small objects are replaced only in the version
that this writer knows; so an older writer finds out before it changes anything.
"""

import asyncio
import contextlib
import logging
import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Final, TypedDict

import msgspec
import obstore
from obstore import exceptions as obstore_errors
from obstore.store import ObjectStore, from_url

from fodc_proxy.storage.errors import (
    FencedError,
    HeldError,
    StorageError,
    Trouble,
    storage_error,
    told_as_storage_error,
)
from fodc_proxy.storage.objects import STREAM_CHUNK_BYTES

WRITER_KEY: Final = "writer.json"
LIST_CHUNK: Final = 500
_TAKES: Final = 5
# A store tells the number of the system's error, or the word of its service, in its text.
_FULL: Final = re.compile(r"\(os error (28|122)\)|StorageFull|QuotaExceeded|507 Insufficient")
_DENIED: Final = re.compile(r"\(os error (1|13|30)\)|AccessDenied|403 Forbidden|NoSuchBucket")
_AWAY: Final = re.compile(r"error sending request|timed out|50[0234] |connect")
_DENIED_ERRORS: Final = (
    obstore_errors.PermissionDeniedError,
    obstore_errors.UnauthenticatedError,
)
_CONFLICTS: Final = (obstore_errors.AlreadyExistsError, obstore_errors.PreconditionError)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: how often a writer shows that it lives, after which silence it is taken for dead."""

    beat_s: float = 10.0
    silence_s: float = 30.0
    timeout_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes: `instance` tells data folders apart, `program` is for people."""

    instance: str
    program: str
    epoch: int = 0
    beat: int = 0
    released: bool = False


class Version(TypedDict, total=False):
    """One version of an object, as the store tells it."""

    e_tag: str | None
    version: str | None


@dataclass(frozen=True, slots=True)
class _Seen:
    """An object of the bucket in one version."""

    writer: Writer
    version: Version


class BucketObjects:
    """Objects in a bucket; implements `objects.Objects`."""

    def __init__(
        self, store: ObjectStore, place: str, writer: Writer, *, patience: Patience | None = None
    ) -> None:
        """Speak to `store`, which people know as `place`, as `writer`."""
        self._store = store
        self._place = place
        self._writer = writer
        self._patience = patience or Patience()
        self._versions: dict[str, Version] = {}
        self._mine: Version | None = None
        self._turn = asyncio.Lock()
        self._beating: asyncio.Task[None] | None = None
        self._fenced = ""

    @property
    def place(self) -> str:
        """Where the objects are, for people."""
        return self._place

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        with told_as_storage_error(what):
            try:
                yield
            except obstore_errors.BaseError as error:
                if isinstance(error, FileNotFoundError):
                    raise
                raise storage_error(what, _trouble(error), _first_line(error)) from error

    # ---- one writer -----------------------------------------------------------------------------

    async def open(self, *, elected: bool = False) -> None:
        """Take the next epoch, from one that has ended, is silent, or was voted out."""
        for _ in range(_TAKES):
            seen = await self._seen()
            if seen is not None and not (elected or self._is_free(seen.writer)):
                await self._outwait(seen)
            if await self._take(seen):
                self._beating = asyncio.create_task(self._beat_on(), name="store epoch")
                return
        raise HeldError(f"{self._place}: others take it over again and again; end all but one")

    def _is_free(self, writer: Writer) -> bool:
        # A data folder is locked by its one proxy, so an older one of the same folder has ended.
        return writer.released or writer.instance == self._writer.instance

    async def _outwait(self, seen: _Seen) -> None:
        """Return when the writer is silent for long; raises HeldError once it shows that it lives.

        Only its own changes count, by our clock: clocks of two machines are not compared.
        """
        _log.info("%s is in use by %s: waiting whether it lives", self._place, _who(seen.writer))
        pause_s = min(self._patience.beat_s, self._patience.silence_s) / 4
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._patience.silence_s
        while loop.time() < until_s:
            await asyncio.sleep(pause_s)
            now = await self._seen()
            if now is None or now.writer.released:
                return
            if now.version != seen.version:
                raise HeldError(
                    f"the artifact store {self._place} is in use by {_who(now.writer)}; "
                    "end that one, or give this one another --artifact-store"
                )

    async def _seen(self) -> _Seen | None:
        with self._told(f"reading {WRITER_KEY}"):
            async with asyncio.timeout(self._patience.timeout_s):
                try:
                    found = await obstore.get_async(self._store, WRITER_KEY)
                    data = bytes(await found.bytes_async())
                except FileNotFoundError:
                    return None
        version = _version(found.meta)
        try:
            return _Seen(msgspec.json.decode(data, type=Writer), version)
        except msgspec.DecodeError:
            message = f"{WRITER_KEY} in {self._place} is no record of a writer; look into it"
            raise StorageError(message) from None

    async def _take(self, seen: _Seen | None) -> bool:
        """Become the writer after this one; False when somebody else was faster."""
        epoch = 1 if seen is None else seen.writer.epoch + 1
        self._writer = replace(self._writer, epoch=epoch, beat=0, released=False)
        try:
            self._mine = await self._write_mark(None if seen is None else seen.version)
        except _CONFLICTS:
            return False
        self._fenced = ""
        _log.info("writes to %s as epoch %d", self._place, epoch)
        return True

    async def _write_mark(self, version: Version | None) -> Version:
        data = msgspec.json.encode(self._writer)
        with self._writing(WRITER_KEY):
            async with asyncio.timeout(self._patience.timeout_s):
                put = await obstore.put_async(
                    self._store, WRITER_KEY, data, mode="create" if version is None else version
                )
        return _version(put)

    @contextmanager
    def _writing(self, key: str) -> Iterator[None]:
        """Tell what a write failed of, but for conflicts, which are answers."""
        conflict: Exception | None = None
        with self._told(f"writing {key}"):
            try:
                yield
            except _CONFLICTS as error:
                conflict = error
            except FileNotFoundError as error:
                message = f"writing {key}: there is no such bucket: {self._place}"
                raise StorageError(message, trouble=Trouble.DENIED) from error
        if conflict is not None:
            raise conflict

    async def _beat_on(self) -> None:
        """Show that this writer lives, until another one has taken over."""
        while not self._fenced:
            await asyncio.sleep(self._patience.beat_s)
            try:
                async with self._turn:
                    await self._beat()
            except StorageError as error:
                _log.warning("the epoch was not renewed: %s", error.message)

    async def _beat(self, *, released: bool = False) -> None:
        self._writer = replace(self._writer, beat=self._writer.beat + 1, released=released)
        try:
            self._mine = await self._write_mark(self._mine)
        except _CONFLICTS:
            # Still ours when that does not raise: the answer to an earlier beat was lost.
            self._mine = await self._check()

    async def _check(self) -> Version:
        """Look who writes; raises FencedError once that is another one."""
        if not self._fenced:
            seen = await self._seen()
            if seen is not None and self._is_me(seen.writer):
                return seen.version
            now = "nobody known" if seen is None else _who(seen.writer)
            self._fenced = (
                f"the artifact store {self._place} was taken over by {now}; "
                "this proxy writes nothing there any more"
            )
            _log.error("%s", self._fenced)
        raise FencedError(self._fenced)

    def _is_me(self, writer: Writer) -> bool:
        return (writer.instance, writer.epoch) == (self._writer.instance, self._writer.epoch)

    async def close(self) -> None:
        """Let another one write, which it then may at once."""
        if self._beating is None:
            return
        self._beating.cancel()
        await asyncio.gather(self._beating, return_exceptions=True)
        self._beating = None
        with contextlib.suppress(StorageError, TimeoutError):
            async with asyncio.timeout(2), self._turn:
                if not self._fenced:
                    await self._beat(released=True)

    # ---- writing --------------------------------------------------------------------------------

    async def put(self, key: str, content: bytes | Path) -> None:
        """Store or replace an object; durable when this returns."""
        await self._check()
        if isinstance(content, Path):
            await self._put_file(key, content)
        else:
            await self._put_version(key, content)

    async def _put_file(self, key: str, path: Path) -> None:
        """Store the bytes of an artifact in parts: their manifest says what they must be."""
        with self._writing(key):
            async with asyncio.timeout(self._patience.timeout_s * 5):
                await obstore.put_async(self._store, key, path)

    async def _put_version(self, key: str, data: bytes) -> None:
        """Replace the version that is known; one by somebody else means to look who writes."""
        for _ in range(_TAKES):
            known = self._versions.get(key)
            try:
                with self._writing(key):
                    async with asyncio.timeout(self._patience.timeout_s):
                        put = await obstore.put_async(
                            self._store, key, data, mode=known or "create", use_multipart=False
                        )
            except _CONFLICTS:
                await self._check()
                await self._learn_version(key)
                continue
            self._versions[key] = _version(put)
            return
        raise StorageError(f"writing {key}: somebody else changes it all the time")

    async def _learn_version(self, key: str) -> None:
        """Take in what a write of an earlier writer, or a lost answer, has left."""
        with self._told(f"reading {key}"):
            async with asyncio.timeout(self._patience.timeout_s):
                try:
                    self._versions[key] = _version(await obstore.head_async(self._store, key))
                except FileNotFoundError:
                    self._versions.pop(key, None)

    async def delete(self, key: str) -> None:
        """Remove an object for good; one that is not there is fine."""
        await self._check()
        with self._told(f"removing {key}"):
            async with asyncio.timeout(self._patience.timeout_s):
                with contextlib.suppress(FileNotFoundError):
                    await obstore.delete_async(self._store, key)
        self._versions.pop(key, None)

    # ---- reading --------------------------------------------------------------------------------

    async def get(self, key: str) -> bytes:
        """Return a small object."""
        with self._told(f"reading {key}"):
            async with asyncio.timeout(self._patience.timeout_s):
                found = await obstore.get_async(self._store, key)
                return bytes(await found.bytes_async())

    async def keys(self, prefix: str) -> dict[str, int]:
        """Return the keys below a prefix with their sizes in bytes."""
        found: dict[str, int] = {}
        with self._told(f"listing {prefix}"):
            async with asyncio.timeout(self._patience.timeout_s):
                async for batch in obstore.list(self._store, prefix, chunk_size=LIST_CHUNK):
                    for item in batch:
                        found[item["path"]] = item["size"]
                        self._versions[item["path"]] = _version(item)
        return found

    async def stream(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` up to, not including, `end`."""
        if start >= end:
            return
        with self._told(f"reading {key}"):
            async with asyncio.timeout(self._patience.timeout_s):
                result = await obstore.get_async(self._store, key, options={"range": (start, end)})
            blocks = aiter(result.stream(min_chunk_size=STREAM_CHUNK_BYTES))
            while True:
                async with asyncio.timeout(self._patience.timeout_s):
                    block = await anext(blocks, None)
                if block is None:
                    return
                yield bytes(block)


def bucket_at(url: str, writer: Writer) -> BucketObjects:
    """Return the objects at a URL; credentials and endpoints come from the environment.

    Raises StorageError for a URL or credentials that cannot be.
    """
    try:
        store = from_url(
            url,
            client_options={
                "timeout": "60s",
                "connect_timeout": "5s",
                # Options of ours take the place of all that the library reads for itself.
                "allow_http": os.environ.get("AWS_ALLOW_HTTP", "").lower() == "true",
            },
            retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=10)},
        )
    except (obstore_errors.BaseError, ValueError) as error:
        raise StorageError(f"--artifact-store: {_first_line(error)[:200]}") from error
    return BucketObjects(store, url, writer)


def _version(told: "obstore.ObjectMeta | obstore.PutResult") -> Version:
    # A store tells one of the two or both; what it does not tell it does not want to hear.
    version = Version()
    if told["e_tag"] is not None:
        version["e_tag"] = told["e_tag"]
    if told["version"] is not None:
        version["version"] = told["version"]
    return version


def _who(writer: Writer) -> str:
    return f"{writer.program[:120]} (epoch {writer.epoch})"


def _trouble(error: Exception) -> Trouble:
    text = str(error)
    if _FULL.search(text):
        return Trouble.FULL
    if isinstance(error, _DENIED_ERRORS) or _DENIED.search(text):
        return Trouble.DENIED
    return Trouble.AWAY if _AWAY.search(text) else Trouble.FAILED


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
