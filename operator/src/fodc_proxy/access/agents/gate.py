# SPDX-License-Identifier: Apache-2.0
"""The gate on the gRPC port: finds out who an agent is, and counts who is not let in.

The one idea: both contracts pass here with what a stream has shown; a credential that is wrong is
never taken for none.
"""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fodc_protocol.link import frames
from fodc_proxy.access.agents.paces import Paces
from fodc_proxy.access.agents.refusals import Asked, Refusals
from fodc_proxy.access.agents.rules import (
    AUDIENCE,
    Fault,
    Granted,
    NamedIdentity,
    Nobody,
    PodRules,
    Refused,
    Rules,
    Who,
    certified,
    granted,
    pod_of,
)
from fodc_proxy.access.answers import Away, Denied
from fodc_proxy.access.asking import moment
from fodc_proxy.access.audit import Deed
from fodc_proxy.access.kept_file import KeptFile
from fodc_proxy.access.token_reviews import TokenReviews
from fodc_proxy.fleet.membership import Contract
from fodc_proxy.fleet.moment import Moment

_BEARER: Final = "bearer "
_OPEN: Final = "INSECURE: agents need neither TLS nor tokens, because of --insecure-agents"
_OVERHEARD: Final = (
    "tokens came without TLS, where others can read them, and count for nothing: replace them"
)
_RECENT_MS: Final = 300_000
_TELL_EVERY_MS: Final = 10_000
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shown:
    """What a stream has shown of who opened it."""

    authorization: str | None
    certificate_names: tuple[str, ...]
    is_tls: bool
    peer: str = ""


class Gate:
    """Who may come in by gRPC."""

    def __init__(
        self,
        rules: Rules,
        *,
        reviews: TokenReviews | None = None,
        tokens: KeptFile[NamedIdentity] | None = None,
        pods: PodRules = PodRules(),  # noqa: B008 - frozen
        paces: Paces,
        audit: Callable[[Deed], None] = lambda _: None,
        now: Callable[[], Moment] = moment,
    ) -> None:
        self.rules: Final = rules
        if rules.admits_strangers:
            _log.warning("%s", _OPEN)
        self.refused: Final[Counter[Fault]] = Counter()
        self.overheard = 0
        """Tokens that came in the clear and were passed over."""
        self._reviews = reviews
        self._tokens = tokens
        self._pods = pods
        self._paces = paces
        self._audit = audit
        self._refusals = Refusals()
        self._refused_ms: dict[Fault, int] = {}
        self._untold: Counter[Fault] = Counter()  # since the last line of the log
        self._told_until_ms: dict[Fault, int] = {}
        self._now = now

    @property
    def note(self) -> str:
        """What people should know of the gate, empty when all is well."""
        notes = [_OPEN] if self.rules.admits_strangers else []
        if self.overheard:
            notes.append(_OVERHEARD)
        if self._tokens is not None and self._tokens.fault:
            notes.append(self._tokens.fault)
        since_ms = self._now().steady_ms - _RECENT_MS
        if recent := sorted(one for one, at_ms in self._refused_ms.items() if at_ms > since_ms):
            notes.append(f"agents were refused just now, the log says which: {', '.join(recent)}")
        return "; ".join(notes)

    async def identify(self, shown: Shown) -> Who | Refused:
        """Find out who has opened a stream; ends within the deadline of a review."""
        if shown.authorization is None or self._is_overheard(shown):
            return certified(shown.certificate_names) if shown.certificate_names else Nobody()
        if not (shown.is_tls or self.rules.is_loopback):
            message = "a token came without TLS, where others can read it: replace that token"
            return Refused(Fault.PLAIN_TEXT, message)
        if shown.authorization[: len(_BEARER)].lower() != _BEARER:
            return Refused(Fault.BAD_TOKEN, "authorization must be `Bearer` with a token")
        return await self._bearer(shown.authorization[len(_BEARER) :].strip(), shown.peer)

    def _is_overheard(self, shown: Shown) -> bool:
        """Say whether a token proves nothing, since everybody between could have it.

        Where nobody needs one its agent is let in like one that has shown nothing.
        """
        is_clear = not (shown.is_tls or self.rules.is_loopback)
        if not is_clear or not self.rules.admits_strangers:
            return False
        self.overheard += 1
        if self.overheard == 1:
            _log.warning("%s", _OVERHEARD)
        return True

    async def _bearer(self, token: str, peer: str) -> Who | Refused:
        known = await self._tokens.look(token) if self._tokens is not None else None
        if known is not None:
            return known
        if self._reviews is None:
            return Refused(Fault.BAD_TOKEN, "the token is not one that this proxy knows")
        review = await self._reviews.review(token, (AUDIENCE,), peer)
        found = review if isinstance(review, Denied | Away) else pod_of(review)
        match found:
            case Away():
                return Refused(Fault.REVIEWER_AWAY, found.reason)
            case Denied():
                return Refused(Fault.BAD_TOKEN, found.reason)
            case _:
                return found

    def admit(
        self, who: Who | Refused, claim: frames.Identity, contract: Contract, peer: str
    ) -> Granted | Refused:
        """Decide about a registration."""
        asked = Asked(who, peer, claim.pod_name)
        if isinstance(who, Refused):
            return self.refuse(who, asked)
        outcome = granted(who, claim, contract, self.rules, self._pods)
        if isinstance(outcome, Granted):
            outcome = self._in_time(outcome) or outcome
        return self.refuse(outcome, asked) if isinstance(outcome, Refused) else outcome

    def _in_time(self, admitted: Granted) -> Refused | None:
        """Refuse who comes too often; who has shown nothing has no limit of its own to use up."""
        paces, now_ms = self._paces, self._now().steady_ms
        who = admitted.authority.principal
        name = f"{who} {admitted.identity.pod_name}"
        wait_ms = paces.each_wait_ms(name, now_ms) if who else 0
        if wait_ms:
            limit = f"{who} registers more than {paces.each.at_once:g} times at once"
            limit += f" and {paces.each.per_s:g} per second"
        else:
            is_proven = admitted.authority.is_proven
            wait_ms = paces.whole_wait_ms(now_ms, is_proven=is_proven)
            limit = f"more than --registrations-per-s={paces.whole.per_s:g} agents register"
        if not wait_ms:
            return None
        message = f"{limit}: come back in {wait_ms / 1000:g} s"
        return Refused(Fault.TOO_OFTEN, message, wait_ms)

    def claimed(self, message: str, asked: Asked) -> Refused:
        """Note somebody who has shown nothing and wants the pod of one that has."""
        return self.refuse(Refused(Fault.CLAIMED, message), asked)

    def refuse(self, refused: Refused, asked: Asked) -> Refused:
        """Count and log somebody who is not let in, and tell the audit."""
        now = self._now()
        fault, now_ms = refused.fault, now.steady_ms
        if (deed := self._refusals.deed(refused, asked, now)) is not None:
            self._audit(deed)
        self.refused[fault] += 1
        self._refused_ms[fault] = now_ms
        self._untold[fault] += 1
        if now_ms >= self._told_until_ms.get(fault, 0):
            self._told_until_ms[fault] = now_ms + _TELL_EVERY_MS
            count = self._untold.pop(fault)
            more = f" ({count} of this reason since the last line)" if count > 1 else ""
            _log.warning(
                "agent refused: reason=%s claims=%s: %s%s",
                fault,
                asked.pod_name,
                refused.message,
                more,
            )
        return refused
