# SPDX-License-Identifier: Apache-2.0
"""Who writes to a bucket.

The one idea: who writes is an object too.  Its epoch grows by a conditional put each time the
writer changes, and its beat while the writer lives; so a second one sees that there is a first, and
an older one finds out before it writes.
"""

import asyncio
import contextlib
import logging
from dataclasses import dataclass, replace
from typing import Final

import msgspec
import obstore
from obstore.store import ObjectStore

from fodc_proxy.storage.calls import CONFLICTS, Version, told, told_of_write, version_of
from fodc_proxy.storage.errors import FencedError, HeldError, StorageError

WRITER_KEY: Final = "writer.json"
_TAKES: Final = 5
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


@dataclass(frozen=True, slots=True)
class _Seen:
    """An object of the bucket in one version."""

    writer: Writer
    version: Version


class Epoch:
    """The writer's place in a bucket that people know as `place`."""

    def __init__(self, store: ObjectStore, place: str, writer: Writer, patience: Patience) -> None:
        self._store = store
        self._place = place
        self._writer = writer
        self._patience = patience
        self._mine: Version | None = None
        self._turn = asyncio.Lock()
        self._beating: asyncio.Task[None] | None = None
        self._fenced = ""

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
        with told(f"reading {WRITER_KEY}"):
            async with asyncio.timeout(self._patience.timeout_s):
                try:
                    found = await obstore.get_async(self._store, WRITER_KEY)
                    data = bytes(await found.bytes_async())
                except FileNotFoundError:
                    return None
        version = version_of(found.meta)
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
        except CONFLICTS:
            return False
        self._fenced = ""
        _log.info("writes to %s as epoch %d", self._place, epoch)
        return True

    async def _write_mark(self, version: Version | None) -> Version:
        data = msgspec.json.encode(self._writer)
        with told_of_write(WRITER_KEY, self._place):
            async with asyncio.timeout(self._patience.timeout_s):
                put = await obstore.put_async(
                    self._store, WRITER_KEY, data, mode="create" if version is None else version
                )
        return version_of(put)

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
        except CONFLICTS:
            # Still ours when that does not raise: the answer to an earlier beat was lost.
            self._mine = await self.check()

    async def check(self) -> Version:
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


def _who(writer: Writer) -> str:
    return f"{writer.program[:120]} (epoch {writer.epoch})"
