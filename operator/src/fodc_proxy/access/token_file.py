# SPDX-License-Identifier: Apache-2.0
"""Reads the file of --agent-tokens-file again and again.

The one idea: a file that is broken when the proxy starts is an error; one that breaks later is
said, and what it held before goes on.
"""

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fodc_protocol.errors import BadRequestError, FodcError, OptionError
from fodc_proxy.access.agent_tokens import MOST_BYTES, digest, parse_tokens
from fodc_proxy.access.agents import NamedIdentity

POLL_S: Final = 5.0
_log = logging.getLogger(__name__)


class TokenFile:
    """Tokens by their hash, as the file holds them now."""

    def __init__(self, path: Path, *, poll_s: float = POLL_S) -> None:
        self.problem = ""
        """Why the file as it is now is not in force; empty when it is."""
        self._path = path
        self._poll_s = poll_s
        self._tokens: Mapping[bytes, NamedIdentity] = {}
        self._polling: asyncio.Task[None] | None = None

    def look(self, token: str) -> NamedIdentity | None:
        """Return whose a token is; takes as long for a wrong one as for a right one."""
        return self._tokens.get(digest(token))

    async def start(self) -> None:
        """Read the file and go on reading; raises OptionError for one that is broken."""
        try:
            self._tokens = await asyncio.to_thread(self._read)
        except FodcError as error:
            raise OptionError(error.message) from error
        self._polling = asyncio.create_task(self._poll(), name="agent-tokens")

    async def stop(self) -> None:
        """End reading."""
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.gather(self._polling, return_exceptions=True)

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(self._poll_s)
            try:
                self._tokens = await asyncio.to_thread(self._read)
                self.problem = ""
            except FodcError as error:
                if error.message != self.problem:
                    _log.warning("what was read before stays in force: %s", error.message)
                self.problem = error.message

    def _read(self) -> Mapping[bytes, NamedIdentity]:
        try:
            with self._path.open("rb") as file:
                data = file.read(MOST_BYTES + 1)
            text = data.decode()
        except (OSError, UnicodeDecodeError) as error:
            words = error.strerror if isinstance(error, OSError) else "no UTF-8 text"
            raise BadRequestError(f"--agent-tokens-file {self._path}: {words}") from error
        if len(data) > MOST_BYTES:
            raise BadRequestError(f"--agent-tokens-file {self._path}: more than {MOST_BYTES} bytes")
        try:
            return parse_tokens(text)
        except BadRequestError as error:
            raise BadRequestError(f"--agent-tokens-file {self._path}: {error.message}") from error
