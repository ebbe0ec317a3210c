# SPDX-License-Identifier: Apache-2.0
"""What the audit is told of an agent that is not let in; pure.

The one idea: a flood of refusals is bounded in lines and not in what they tell: a line says how
many of its reason were passed over since the one before.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fodc_proxy.access.agents.paces import Bucket, Pace
from fodc_proxy.access.agents.rules import Fault, NamedIdentity, PodIdentity, Refused, Who
from fodc_proxy.access.audit import Deed
from fodc_proxy.access.callers import NOBODY, Caller, Method
from fodc_proxy.fleet.moment import Moment
from fodc_proxy.fleet.proving import Proof

ACTION: Final = "registerAgent"
AT_ONCE: Final = Pace(at_once=100, per_s=10)
_STATUSES: Final[Mapping[Fault, int]] = {
    Fault.NO_CREDENTIALS: 401,
    Fault.PLAIN_TEXT: 401,
    Fault.BAD_TOKEN: 401,
    Fault.REVIEWER_AWAY: 503,
    Fault.OTHER_AGENT: 403,
    Fault.OTHER_NAMESPACE: 403,
    Fault.CLAIMED: 403,
    Fault.TOO_OFTEN: 429,
}


@dataclass(frozen=True, slots=True)
class Asked:
    """Who wanted in: what is known of them, from where, and for which pod (as they say)."""

    who: Who | Refused
    peer: str = ""
    pod_name: str = ""


class Refusals:
    """Makes lines of refusals, so many a second."""

    def __init__(self, pace: Pace = AT_ONCE) -> None:
        self._pace = pace
        self._bucket = Bucket(pace.at_once, 0)
        self._passed_over: Counter[Fault] = Counter()

    def deed(self, refused: Refused, asked: Asked, now: Moment) -> Deed | None:
        """Return what is told, None when there were too many just now."""
        fault = refused.fault
        if self._bucket.take(self._pace, now.steady_ms):
            self._passed_over[fault] += 1
            return None
        passed_over = self._passed_over.pop(fault, 0)
        more = {"more": f"{passed_over} of this reason since the last line"} if passed_over else {}
        about = {"object": asked.pod_name, "reason": str(fault), **more}
        status = _STATUSES[fault]
        return Deed(now.unix_ms, "", _caller(asked.who), asked.peer, ACTION, status, about)


def _caller(who: Who | Refused) -> Caller:
    match who:
        case PodIdentity():
            return Caller(who.principal, Method.KUBERNETES)
        case NamedIdentity():
            is_certificate = who.proof is Proof.CERTIFICATE
            method = Method.CERTIFICATE if is_certificate else Method.TOKEN_FILE
            return Caller(who.principal, method)
        case _:
            return NOBODY
