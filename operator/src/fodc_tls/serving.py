# SPDX-License-Identifier: Apache-2.0
"""The certificate that a listener shows, changed while it listens.

The one idea: one TLS context lives as long as the listener, and what is loaded into it counts for
the next connection; a pair is tried on a context of its own first, so that a bad one costs nothing.
"""

import asyncio
import contextlib
import logging
import os
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeAlias

from fodc_tls.parts import CLIENT_CA, LEAF_CERTIFICATE, LEAF_KEY

POLL_S: Final = 5.0
_EAGER_POLL_S: Final = 0.5
"""While there is nothing to show nobody can come in."""
_log = logging.getLogger(__name__)


class SourceError(Exception):
    """There is no certificate to be had now; the text says why and holds no secret."""


Source: TypeAlias = Callable[[], Awaitable[Mapping[str, bytes]]]
"""Reads the parts tls.crt and tls.key, and client-ca.crt where there is one; raises SourceError."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A pair that was taken into service."""

    parts: tuple[bytes, bytes, bytes]
    expires_at: datetime


class ServingCertificate:
    """`context` is for the listener of `whose`; `run` in a task keeps it up to date.

    `loads` counts certificates that were taken into service (ok) or could not be (refused).
    """

    def __init__(
        self,
        source: Source,
        loads: Counter[str],
        *,
        whose: str = "the webhook",
        poll_s: float = POLL_S,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._source = source
        self._loads = loads
        self._whose = whose
        self._poll_s = poll_s
        self._now = now
        self._shown: Shown | None = None
        self._problem = "no certificate was read yet"

    @property
    def expires_at(self) -> datetime | None:
        """When the certificate that is shown ends."""
        return None if self._shown is None else self._shown.expires_at

    @property
    def fault(self) -> str:
        """Why nobody can trust the listener now, empty when they can."""
        if self._shown is None:
            return self._problem
        if self._now() >= self._shown.expires_at:
            return f"the certificate ended at {self._shown.expires_at:%Y-%m-%d %H:%M} UTC"
        return ""

    async def run(self) -> None:
        """Read the source again and again until cancelled."""
        while True:
            await self.refresh()
            is_bare = self._shown is None
            await asyncio.sleep(min(self._poll_s, _EAGER_POLL_S) if is_bare else self._poll_s)

    async def refresh(self) -> None:
        """Read the source once, and show what is new there."""
        try:
            parts = await self._source()
        except SourceError as error:
            self._note(str(error))
            return
        found = tuple(parts.get(one, b"") for one in (LEAF_CERTIFICATE, LEAF_KEY, CLIENT_CA))
        if self._shown is None or found != self._shown.parts:
            self._show((found[0], found[1], found[2]))

    def _show(self, parts: tuple[bytes, bytes, bytes]) -> None:
        expires_at = _end_of(parts[0])
        if expires_at is None:
            self._refused("tls.crt holds no certificate")
            return
        try:
            # A pair that does not fit would leave the living context without any.
            _load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), parts)
            _load(self.context, parts)
        except (ssl.SSLError, OSError, ValueError) as error:
            self._refused(f"tls.crt and tls.key cannot be used: {error}")
            return
        self._shown, self._problem = Shown(parts, expires_at), ""
        self._loads["ok"] += 1
        _log.info("%s shows a certificate until %s", self._whose, expires_at.isoformat())

    def _refused(self, problem: str) -> None:
        if problem != self._problem:
            self._loads["refused"] += 1
        self._note(problem)

    def _note(self, problem: str) -> None:
        if problem != self._problem:
            _log.warning("the certificate of %s: %s", self._whose, problem)
        self._problem = problem


def files_source(files: Mapping[str, Path], flag: str) -> Source:
    """Read files by the names of parts; `flag` names who told them, for errors."""

    async def read() -> Mapping[str, bytes]:
        try:
            return {name: await asyncio.to_thread(path.read_bytes) for name, path in files.items()}
        except OSError as error:
            raise SourceError(f"{flag}: {error.filename}: {error.strerror}") from error

    return read


def folder_source(folder: Path) -> Source:
    """Read the files of a folder, as a mounted Secret has them."""
    parts = {name: folder / name for name in (LEAF_CERTIFICATE, LEAF_KEY)}
    return files_source(parts, "--cert-dir")


def _end_of(pem: bytes) -> datetime | None:
    """Return when the first certificate ends, None where there is none."""
    from cryptography import x509  # noqa: PLC0415 - 6 MiB that a listener without TLS never needs

    try:
        return x509.load_pem_x509_certificate(pem).not_valid_after_utc if pem else None
    except ValueError:
        return None


def _load(context: ssl.SSLContext, parts: tuple[bytes, bytes, bytes]) -> None:
    with _in_memory(parts[0]) as certificate, _in_memory(parts[1]) as key:
        # An empty password: an encrypted key must not ask on the terminal.
        context.load_cert_chain(certificate, key, password="")
    if parts[2]:
        # Added to those before: one that is no longer trusted goes with the next start.
        context.load_verify_locations(cadata=parts[2].decode("ascii"))
        context.verify_mode = ssl.CERT_OPTIONAL


@contextlib.contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """Own a path that leads to memory: the library wants files, and keys belong on no disk."""
    number = os.memfd_create("fodc-certificate")
    try:
        with os.fdopen(os.dup(number), "wb") as file:
            file.write(content)
        yield f"/proc/self/fd/{number}"
    finally:
        os.close(number)
