# SPDX-License-Identifier: Apache-2.0
"""Keeps the file of tokens in mind, and reads it again when it has changed."""

import asyncio
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fodc_protocol.errors import BadRequestError, OptionError
from fodc_proxy.access.answers import Denied
from fodc_proxy.access.callers import Caller, Identified
from fodc_proxy.access.tokens import MAX_BYTES, OPTION, callers_by_digest, digest_of

_LOOK_EVERY_S: Final = 2.0
_FOR_OTHERS: Final = 0o077
_log = logging.getLogger(__name__)


class TokensFile:
    """Callers by their tokens; raises OptionError when the file cannot be used at first.

    A file that becomes wrong later changes nothing: who was known stays known, `fault` says why.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self.fault = ""
        try:
            self._seen = self._stamp()
            self._callers = self._read()
        except (OSError, BadRequestError) as error:
            raise OptionError(f"--{OPTION}: {self._words(error)}") from error
        if self._path.stat().st_mode & _FOR_OTHERS:
            _log.warning("--%s: %s can be read by others: chmod 600 it", OPTION, path)
        self._looked_s = time.monotonic()
        self._looking = asyncio.Lock()

    def __str__(self) -> str:
        """Say who may ask, for people."""
        return f"{len(self._callers)} in --{OPTION}"

    async def caller_of(self, token: str) -> Identified:
        """Say whose token this is."""
        await self._look_again()
        found = self._callers.get(digest_of(token))
        return found or Denied(f"it is not in the file of --{OPTION}")

    async def _look_again(self) -> None:
        if time.monotonic() - self._looked_s < _LOOK_EVERY_S:
            return
        async with self._looking:
            if time.monotonic() - self._looked_s >= _LOOK_EVERY_S:
                await asyncio.to_thread(self._take_in)
                self._looked_s = time.monotonic()

    def _take_in(self) -> None:
        try:
            stamp = self._stamp()
            if stamp == self._seen and not self.fault:
                return
            self._callers, self._seen, self.fault = self._read(), stamp, ""
        except (OSError, BadRequestError) as error:
            words = self._words(error)
            if words != self.fault:
                _log.warning("--%s: %s; the tokens from before are used on", OPTION, words)
            self.fault = words
        else:
            _log.info("--%s: read again, %d callers", OPTION, len(self._callers))

    def _stamp(self) -> tuple[int, int, int]:
        told = self._path.stat()
        return told.st_mtime_ns, told.st_size, told.st_ino

    def _read(self) -> Mapping[bytes, Caller]:
        with self._path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise BadRequestError(f"has more than {MAX_BYTES} bytes")
        try:
            return callers_by_digest(data.decode("utf-8-sig"))
        except UnicodeDecodeError:
            raise BadRequestError("is not UTF-8") from None

    def _words(self, error: Exception) -> str:
        if isinstance(error, OSError):
            return f"cannot read {self._path}: {(error.strerror or str(error)).lower()}"
        return f"{self._path}: {error}"
