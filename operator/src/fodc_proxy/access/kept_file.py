# SPDX-License-Identifier: Apache-2.0
"""Keeps a file of tokens in mind, and reads it again when it has changed.

The one idea: a file that is broken at first is an error; one that becomes wrong later changes
nothing: who was known stays known, and `fault` says why.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Generic, TypeVar

from fodc_protocol.errors import BadRequestError, OptionError
from fodc_proxy.access.bearer import digest_of

T = TypeVar("T")
MAX_BYTES: Final = 1024 * 1024
LOOK_EVERY_S: Final = 2.0
_FOR_OTHERS: Final = 0o077
_log = logging.getLogger(__name__)


class KeptFile(Generic[T]):
    """What stands in the file of an option, by the digests of tokens.

    `parse` may raise BadRequestError. Raises OptionError when the file cannot be used at first.
    """

    def __init__(
        self,
        option: str,
        path: str,
        parse: Callable[[str], Mapping[bytes, T]],
        *,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self.fault = ""
        self._option = option
        self._path = Path(path)
        self._parse = parse
        self._look_every_s = look_every_s
        try:
            self._seen = self._stamp()
            self._entries = self._read()
        except (OSError, BadRequestError) as error:
            raise OptionError(f"--{option}: {self._words(error)}") from error
        if self._path.stat().st_mode & _FOR_OTHERS:
            _log.warning("--%s: %s can be read by others: chmod 600 it", option, path)
        self._looked_s = time.monotonic()
        self._looking = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    async def look(self, token: str) -> T | None:
        """Return what stands there for a token, None for one that does not.

        A digest is looked up, which takes a time that says nothing about the tokens.
        """
        await self._look_again()
        return self._entries.get(digest_of(token))

    async def _look_again(self) -> None:
        if time.monotonic() - self._looked_s < self._look_every_s:
            return
        async with self._looking:
            if time.monotonic() - self._looked_s >= self._look_every_s:
                await asyncio.to_thread(self._take_in)
                self._looked_s = time.monotonic()

    def _take_in(self) -> None:
        try:
            stamp = self._stamp()
            if stamp == self._seen and not self.fault:
                return
            self._entries, self._seen, self.fault = self._read(), stamp, ""
        except (OSError, BadRequestError) as error:
            words = f"--{self._option}: {self._words(error)}"
            if words != self.fault:
                _log.warning("%s; the tokens from before are used on", words)
            self.fault = words
        else:
            _log.info("--%s: read again, %d tokens", self._option, len(self))

    def _stamp(self) -> tuple[int, int, int]:
        told = self._path.stat()
        return told.st_mtime_ns, told.st_size, told.st_ino

    def _read(self) -> Mapping[bytes, T]:
        with self._path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise BadRequestError(f"has more than {MAX_BYTES} bytes")
        try:
            return self._parse(data.decode("utf-8-sig"))
        except UnicodeDecodeError:
            raise BadRequestError("is not UTF-8") from None

    def _words(self, error: Exception) -> str:
        if isinstance(error, OSError):
            return f"cannot read {self._path}: {(error.strerror or str(error)).lower()}"
        return f"{self._path}: {error}"
