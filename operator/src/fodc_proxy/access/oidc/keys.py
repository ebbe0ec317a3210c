# SPDX-License-Identifier: Apache-2.0
"""The issuer's keys: found by discovery, kept, and fetched again when a token names an unknown one.

The one idea: what strangers send never makes the proxy ask the issuer more often than a few times a
minute, and an issuer that is away costs those nothing whose key is known.
"""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

from fodc_protocol.errors import BadRequestError
from fodc_proxy.access.answers import Away
from fodc_proxy.access.oidc.claims import wrong_url

MAX_KEYS: Final = 100
FRESH_S: Final = 600.0
PAUSE_S: Final = 10.0
# So long keys are used while their issuer cannot be reached.
LASTS_S: Final = 86_400.0
_DISCOVERY: Final = "/.well-known/openid-configuration"
_log = logging.getLogger(__name__)
Key: TypeAlias = Mapping[str, Any]
Fetch: TypeAlias = Callable[[str], Awaitable[bytes]]
"""Gives the body of a URL within seconds; raises BadRequestError that says why not."""


class KeySet:
    """Keys by their ids; `fault` says why they could not be fetched last."""

    def __init__(
        self,
        issuer: str,
        fetch: Fetch,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer = issuer
        self._discovery = issuer.rstrip("/") + _DISCOVERY
        self._fetch = fetch
        self._clock_s = clock_s
        self._keys: Mapping[str, Key] = {}
        self._fetched_s = self._tried_s = float("-inf")
        self._fetching = asyncio.Lock()
        self.fault = ""
        self.fetches = 0

    async def key(self, key_id: str) -> Key | Away | None:
        """Return the key of an id, None when the issuer has none such."""
        is_stale = self._clock_s() - self._fetched_s >= FRESH_S
        if key_id not in self._keys or is_stale:
            await self._fetch_once()
        is_old = self._clock_s() - self._fetched_s >= LASTS_S
        found = None if is_old else self._keys.get(key_id)
        if found is None and self.fault:
            return Away(f"the keys of {self._issuer} cannot be fetched: {self.fault}")
        return found

    async def _fetch_once(self) -> None:
        """Fetch, unless somebody has done so a moment ago."""
        async with self._fetching:
            if self._clock_s() - self._tried_s < PAUSE_S:
                return
            self._tried_s = self._clock_s()
            self.fetches += 1
            try:
                self._keys = await self._fetched()
            except BadRequestError as error:
                self.fault = error.message
                _log.warning("keys of %s: %s", self._issuer, self.fault)
            else:
                self._fetched_s, self.fault = self._clock_s(), ""

    async def _fetched(self) -> Mapping[str, Key]:
        document = _object(await self._fetch(self._discovery), self._discovery)
        if document.get("issuer") != self._issuer:
            raise BadRequestError("its discovery names another issuer")
        url = str(document.get("jwks_uri", ""))
        if wrong := wrong_url(url):
            raise BadRequestError(f"its jwks_uri {wrong}")
        return _by_id(_object(await self._fetch(url), url))


def _object(data: bytes, url: str) -> Mapping[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise BadRequestError(f"GET {url} was answered with what is no JSON") from None
    if not isinstance(found, dict):
        raise BadRequestError(f"GET {url} was answered with no JSON object")
    return found


def _by_id(document: Mapping[str, Any]) -> Mapping[str, Key]:
    keys = document.get("keys")
    if not isinstance(keys, list):
        raise BadRequestError("its key set has no keys")
    return {
        str(key["kid"]): key
        for key in keys[:MAX_KEYS]
        if isinstance(key, dict) and "kid" in key and key.get("use", "sig") == "sig"
    }
