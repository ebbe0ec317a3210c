# SPDX-License-Identifier: Apache-2.0
"""The door: who asks, and may they; knows neither HTTP nor Kubernetes.

The one idea: nobody comes in because something was forgotten. Without any source of callers those
on the proxy's own machine are let in, others are told how to be known; with a source everybody
needs a token, also on the own machine, where a browser, a forwarded port or a sidecar may ask for
somebody else. Only `is_insecure` lets everybody in, and that shows.
"""

import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from fodc_api.words import Right
from fodc_proxy.access.access_reviews import AccessReviews, Allowed, Decision
from fodc_proxy.access.answers import Away, Denied
from fodc_proxy.access.callers import (
    EVERYBODY,
    INSECURE_OPTION,
    LOCAL,
    NOBODY,
    Caller,
    ForbiddenError,
    Identified,
    Method,
    UnauthenticatedError,
    UnsureError,
    is_own_machine,
)
from fodc_proxy.access.links import Links
from fodc_proxy.access.roles import holds, least_role
from fodc_proxy.access.sessions import Sessions
from fodc_proxy.access.tokens import MAX_TOKEN_LENGTH

_HOW: Final = "send `Authorization: Bearer …` (fodc: --token-file or FODC_TOKEN)"


class CallerSource(Protocol):
    """Who knows callers by their tokens."""

    @property
    def fault(self) -> str:
        """What does not work, empty when all does."""
        ...

    async def caller_of(self, token: str, peer: str = "") -> Identified:
        """Say whose token this is that a peer has sent, within seconds."""
        ...


@dataclass(frozen=True, slots=True)
class Knock:
    """What a request shows of its caller; `is_passed_on` when something stands between."""

    peer: str
    token: str = ""
    is_passed_on: bool = False


class Door:
    """Lets callers in and asks what they may."""

    def __init__(
        self,
        sources: Sequence[CallerSource] = (),
        reviews: AccessReviews | None = None,
        *,
        is_insecure: bool = False,
    ) -> None:
        self._sources = tuple(sources)
        self._reviews = reviews
        self.is_insecure = is_insecure
        self.links: Final = Links(secrets.token_bytes(32))
        self.sessions: Final = Sessions()
        self.refused: Counter[str] = Counter()
        """How many were refused, by reason."""

    def __str__(self) -> str:
        """Say who is let in, for people."""
        if self.is_insecure:
            return f"AUTHENTICATION IS OFF (--{INSECURE_OPTION}): everybody may do everything"
        if not self._sources:
            return "only callers of this machine are let in; --http-tokens-file lets others in"
        known = "callers need a token: " + ", ".join(str(one) for one in self._sources)
        faults = "; ".join(one.fault for one in self._sources if one.fault)
        return f"{known}; DOES NOT WORK: {faults}" if faults else known

    # ---- who asks ---------------------------------------------------------------------------

    async def enter(self, knock: Knock) -> Caller:
        """Return the caller; raises UnauthenticatedError and UnsureError."""
        if self.is_insecure:
            return EVERYBODY
        if not self._sources:
            return self._own_machine(knock)
        if not knock.token:
            self.refused["NoToken"] += 1
            raise UnauthenticatedError(f"this needs a token: {_HOW}")
        if len(knock.token) > MAX_TOKEN_LENGTH:
            return self._not_known([f"it has more than {MAX_TOKEN_LENGTH} letters"])
        return await self._by_token(knock)

    def _own_machine(self, knock: Knock) -> Caller:
        if is_own_machine(knock.peer) and not knock.is_passed_on:
            return LOCAL
        self.refused["NotLocal"] += 1
        raise UnauthenticatedError(
            "this proxy knows no callers but those on its own machine: --http-tokens-file lets "
            "others in by token"
        )

    async def _by_token(self, knock: Knock) -> Caller:
        """Ask one source after the other; who is away may know the caller, so that counts."""
        reasons: list[str] = []
        away: list[str] = []
        for source in self._sources:
            match await source.caller_of(knock.token, knock.peer):
                case Caller() as caller:
                    return caller
                case Denied(reason):
                    reasons.append(reason)
                case Away(reason):
                    away.append(reason)
        if away:
            self.refused["Away"] += 1
            raise UnsureError(f"cannot find out whose token this is: {'; '.join(away)}")
        return self._not_known(reasons)

    def _not_known(self, reasons: Sequence[str]) -> Caller:
        self.refused["WrongToken"] += 1
        message = f"the token is not accepted: {'; '.join(reasons)}"
        raise UnauthenticatedError(message, is_wrong=True)

    def by_link(self, text: str, artifact_id: str, now_ms: int, *, uses: bool) -> Caller:
        """Return the caller of a signed link; raises ForbiddenError."""
        link = self.links.read(text, artifact_id, now_ms, uses=uses)
        if isinstance(link, Denied):
            self.refused["WrongLink"] += 1
            raise ForbiddenError(f"{link.reason}: ask for a new one")
        return Caller(link.maker, Method.LINK)

    # ---- may they ---------------------------------------------------------------------------

    async def require(self, caller: Caller, right: Right, namespace: str = "") -> None:
        """Return when a caller may; raises ForbiddenError and UnsureError."""
        if right is Right.ANYBODY or holds(caller.roles, right):
            return
        if caller is NOBODY:
            raise UnauthenticatedError(f"this needs a token: {_HOW}")
        match await self._decided(caller, right, namespace):
            case Allowed():
                return
            case Denied(reason):
                self.refused["Forbidden"] += 1
                raise ForbiddenError(reason)
            case Away(reason):
                self.refused["Away"] += 1
                raise UnsureError(f"cannot find out whether {caller.name} may: {reason}")

    async def _decided(self, caller: Caller, right: Right, namespace: str) -> Decision:
        if caller.method is Method.KUBERNETES and self._reviews is not None:
            return await self._reviews.review(caller, right, namespace)
        has = ", ".join(sorted(caller.roles)) or "none"
        return Denied(
            f"{caller.name} lacks the right {right} (role {least_role(right)} or more; roles now: "
            f"{has}); {caller.granted_by or 'nobody'} grants it"
        )
