# SPDX-License-Identifier: Apache-2.0
"""Who asks, and how that is known; pure."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias

from fodc_protocol.errors import FodcError, Reason
from fodc_proxy.access.answers import Answer
from fodc_proxy.access.roles import Role

INSECURE_OPTION: Final = "insecure-http"
MAX_NAME_LENGTH: Final = 256


class Method(StrEnum):
    """How a caller showed who they are."""

    NOTHING = "nothing"
    """They did not; open routes are answered all the same."""
    LOCAL = "local"
    """They are on the proxy's own machine, and nobody said who else may ask."""
    TOKEN_FILE = "token-file"  # noqa: S105 - a word, no password
    OIDC = "oidc"
    KUBERNETES = "kubernetes"
    CERTIFICATE = "certificate"
    """Of an agent; people have none."""
    LINK = "link"
    """They have a signed link to one artifact."""
    INSECURE = "insecure"
    """They were not asked: authentication was turned off by name."""


@dataclass(frozen=True, slots=True)
class Caller:
    """One who asks; groups, uid and extra are what the API server says of its users."""

    name: str
    method: Method
    roles: frozenset[Role] = frozenset()
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    granted_by: str = ""
    """Who gives roles to callers like this one, in words that end a sentence."""
    ends_ms: int = 0
    """Unix time after which what the caller showed is void, 0 when that is not known."""

    def __str__(self) -> str:
        """Return the name with how it is known, as captures remember who asked."""
        return f"{self.method}:{self.name}"


NOBODY: Final = Caller("nobody", Method.NOTHING)
LOCAL: Final = Caller("local", Method.LOCAL, frozenset({Role.ADMIN}))
EVERYBODY: Final = Caller("everybody", Method.INSECURE, frozenset({Role.ADMIN}))


Identified: TypeAlias = Answer[Caller]
"""What becomes of a token."""


# ---- refusals -----------------------------------------------------------------------------------


class UnauthenticatedError(FodcError):
    """Nobody knows who asks; `is_wrong` when they sent what is wrong or has expired."""

    default_reason = Reason.UNAUTHENTICATED

    def __init__(self, message: str, *, is_wrong: bool = False) -> None:
        super().__init__(message)
        self.is_wrong = is_wrong


class ForbiddenError(FodcError):
    """The caller is known and lacks a right; the message names it and who grants it."""

    default_reason = Reason.FORBIDDEN


class UnsureError(FodcError):
    """Who could say whether the caller may is away."""

    default_reason = Reason.STANDBY


def is_own_machine(peer: str) -> bool:
    """Say whether an address is one of loopback, also when IPv6 carries IPv4."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
