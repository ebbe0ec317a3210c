# SPDX-License-Identifier: Apache-2.0
"""Signed links: whoever has one reads one artifact for a while; pure.

The one idea: all that a link permits stands in it and is signed with a key that no file and nobody
else has, so nothing has to be kept but which links for one use were used.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections import Counter
from dataclasses import dataclass
from typing import Final

from fodc_proxy.access.answers import Denied
from fodc_proxy.access.callers import MAX_NAME_LENGTH

MAX_LASTS_S: Final = 900
MAX_LENGTH: Final = 2048
_MOST_USED: Final = 10_000
_MOST_USED_OF_ONE: Final = 1_000
"""So that nobody uses up the room of others."""
_PURPOSE: Final = b"fodc artifact link 1\0"


@dataclass(frozen=True, slots=True)
class Link:
    """What a link permits; the end is Unix time."""

    artifact_id: str
    maker: str
    ends_ms: int
    nonce: str
    is_for_once: bool


class Links:
    """Makes and reads the links of one life of the proxy, whose key is as random as it is long."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._used: dict[str, Link] = {}
        self._used_of: Counter[str] = Counter()

    def made(self, link: Link) -> str:
        """Return the text of a link."""
        once = int(link.is_for_once)
        maker = link.maker[:MAX_NAME_LENGTH]
        told = [link.artifact_id, maker, link.ends_ms, link.nonce, once]
        # Letters as they are: escaped, a long name would not fit into a link.
        text = json.dumps(told, separators=(",", ":"), ensure_ascii=False)
        body = text.encode("utf-8", "replace")
        return f"{_text(body)}.{_text(self._signed(body))}"

    def read(self, text: str, artifact_id: str, now_ms: int, *, uses: bool) -> Link | Denied:
        """Return what a text permits for an artifact; one for one use is used up when it `uses`."""
        link = self._unsigned(text)
        if link is None or link.artifact_id != artifact_id:
            return Denied("the link is altered, of another artifact, or of before a restart")
        if link.ends_ms <= now_ms:
            return Denied("the link has expired")
        if link.is_for_once:
            if link.nonce in self._used:
                return Denied("the link was for one use and has been used")
            if uses and not self._use(link, now_ms):
                return Denied("too many links for one use were used just now")
        return link

    def _use(self, link: Link, now_ms: int) -> bool:
        if self._is_full(link):
            self._used = {key: one for key, one in self._used.items() if one.ends_ms > now_ms}
            self._used_of = Counter(one.maker for one in self._used.values())
        if self._is_full(link):
            return False
        self._used[link.nonce] = link
        self._used_of[link.maker] += 1
        return True

    def _is_full(self, link: Link) -> bool:
        return len(self._used) >= _MOST_USED or self._used_of[link.maker] >= _MOST_USED_OF_ONE

    def _unsigned(self, text: str) -> Link | None:
        """Return what our key has signed, None for anything else."""
        told, _, signature = text[:MAX_LENGTH].partition(".")
        body = _bytes(told)
        if not hmac.compare_digest(_bytes(signature), self._signed(body)):
            return None
        artifact_id, maker, ends_ms, nonce, once = json.loads(body)
        return Link(artifact_id, maker, ends_ms, nonce, bool(once))

    def _signed(self, body: bytes) -> bytes:
        return hmac.new(self._key, _PURPOSE + body, hashlib.sha256).digest()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    """Return the bytes of a text that `_text` wrote, none for another one."""
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return b""
    return data if _text(data) == text else b""
