# SPDX-License-Identifier: Apache-2.0
"""The doors to OpenSSL, shut until somebody needs it.

The one idea: OpenSSL, and the authorities that libraries load for clients of their own, are seven
MiB of a proxy at rest, which one that listens in the clear never uses. So the program shuts both
doors before anything else is imported and opens them when its settings ask for TLS: before asyncio
and aiohttp look for `ssl`, which both can do without. Programs that embed the proxy shut nothing.
"""

import contextlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from _hashlib import HASH

_DOORS: Final = ("ssl", "_hashlib")


def shut() -> None:
    """Let imports of OpenSSL fail, unless it is there already."""
    for name in _DOORS:
        # None is how an import is forbidden, which the type of the dictionary does not know.
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]


def unlock() -> None:
    """Let imports of OpenSSL work again."""
    for name in _DOORS:
        if sys.modules.get(name, ...) is None:
            del sys.modules[name]


@contextlib.contextmanager
def papered() -> Iterator[None]:
    """Show a picture of `ssl` to a library that names its types and never uses them."""
    if sys.modules.get("ssl", ...) is not None:
        yield
        return
    sys.modules["ssl"] = _Picture("ssl")
    try:
        yield
    finally:
        sys.modules["ssl"] = None  # type: ignore[assignment]  # as above


class _Picture(ModuleType):
    """Has a type of every name."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return object


def sha256() -> "HASH":
    """Return OpenSSL's SHA-256, which is five times as fast as the interpreter's own.

    For artifacts: OpenSSL comes with the first of them.
    """
    if sys.modules.get("_hashlib", ...) is None:
        sys.modules.pop("_hashlib", None)
    from _hashlib import openssl_sha256  # noqa: PLC0415 - see the module's docstring

    return openssl_sha256()
