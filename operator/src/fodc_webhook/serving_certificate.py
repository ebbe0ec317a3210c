# SPDX-License-Identifier: Apache-2.0
"""The certificate that the listener shows, changed while it listens.

The one idea: one TLS context lives as long as the listener, and what is loaded into it counts for
the next connection; a pair is tried on a context of its own first, so that a bad one costs nothing.
"""

import asyncio
import contextlib
import logging
import os
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeAlias

from fodc_kube import kinds
from fodc_kube.client import Cluster
from fodc_kube.errors import ClusterError
from fodc_webhook import certificates
from fodc_webhook.certificates import LEAF_CERTIFICATE, LEAF_KEY
from fodc_webhook.figures import Figures

POLL_S: Final = 5.0
_log = logging.getLogger(__name__)


class SourceError(Exception):
    """There is no certificate to be had now; the text says why and holds no secret."""


Source: TypeAlias = Callable[[], Awaitable[Mapping[str, bytes]]]
"""Reads the parts tls.crt and tls.key; raises SourceError."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A pair that was taken into service."""

    parts: tuple[bytes, bytes]
    expires_at: datetime


class ServingCertificate:
    """`context` is for the listener; `run` in a task keeps it up to date."""

    def __init__(
        self,
        source: Source,
        figures: Figures,
        *,
        poll_s: float = POLL_S,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._source = source
        self._figures = figures
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
        """Why API servers cannot trust the listener now, empty when they can."""
        if self._shown is None:
            return self._problem
        if self._now() >= self._shown.expires_at:
            return f"the certificate ended at {self._shown.expires_at:%Y-%m-%d %H:%M} UTC"
        return ""

    async def run(self) -> None:
        """Read the source again and again until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(self._poll_s)

    async def refresh(self) -> None:
        """Read the source once, and show what is new there."""
        try:
            parts = await self._source()
        except SourceError as error:
            self._note(str(error))
            return
        pair = (parts.get(LEAF_CERTIFICATE, b""), parts.get(LEAF_KEY, b""))
        if self._shown is None or pair != self._shown.parts:
            self._show(pair)

    def _show(self, pair: tuple[bytes, bytes]) -> None:
        leaf = certificates.read({LEAF_CERTIFICATE: pair[0]}).leaf
        if leaf is None:
            self._refused("tls.crt holds no certificate")
            return
        try:
            # A pair that does not fit would leave the living context without any.
            _load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), pair)
            _load(self.context, pair)
        except (ssl.SSLError, OSError, ValueError) as error:
            self._refused(f"tls.crt and tls.key cannot be used: {error}")
            return
        self._shown, self._problem = Shown(pair, leaf.not_valid_after_utc), ""
        self._figures.certificate_loads["ok"] += 1
        _log.info("the webhook shows a certificate until %s", leaf.not_valid_after_utc.isoformat())

    def _refused(self, problem: str) -> None:
        if problem != self._problem:
            self._figures.certificate_loads["refused"] += 1
        self._note(problem)

    def _note(self, problem: str) -> None:
        if problem != self._problem:
            _log.warning("the webhook's certificate: %s", problem)
        self._problem = problem


def secret_source(cluster: Cluster, namespace: str, name: str) -> Source:
    """Read the Secret by the API: a mounted one is late by a minute and more."""

    async def read() -> Mapping[str, bytes]:
        try:
            secret = await cluster.get(kinds.SECRET, namespace, name)
        except ClusterError as error:
            raise SourceError(error.message) from error
        if secret is None:
            raise SourceError(f"there is no Secret {namespace}/{name} yet; the operator makes it")
        return certificates.decoded(secret.get("data"))

    return read


def folder_source(folder: Path) -> Source:
    """Read the files of a folder, as a mounted Secret has them."""

    async def read() -> Mapping[str, bytes]:
        try:
            return {
                name: await asyncio.to_thread((folder / name).read_bytes)
                for name in (LEAF_CERTIFICATE, LEAF_KEY)
            }
        except OSError as error:
            what = f"--cert-dir: {error.filename}: {error.strerror}"
            raise SourceError(what) from error

    return read


def _load(context: ssl.SSLContext, pair: tuple[bytes, bytes]) -> None:
    with _in_memory(pair[0]) as certificate, _in_memory(pair[1]) as key:
        # An empty password: an encrypted key must not ask on the terminal.
        context.load_cert_chain(certificate, key, password="")


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
