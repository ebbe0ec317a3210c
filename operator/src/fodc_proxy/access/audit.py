# SPDX-License-Identifier: Apache-2.0
"""What somebody did, as one line of JSON; pure.

The one idea: a line has names, ids and results, which are bounded, and never what was sent or
read: there is no field that could hold a secret.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from fodc_protocol.audit_lines import Said, audit_line
from fodc_proxy.access.callers import Caller

About: TypeAlias = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True, slots=True)
class Deed:
    """One change, or one artifact that was read, or the refusal of either; time is Unix time."""

    time_ms: int
    request_id: str
    caller: Caller
    peer: str
    action: str
    status: int
    about: About = field(default_factory=dict)


def line_of(deed: Deed) -> bytes:
    """Return the line with its end; what is too long is cut."""
    said: dict[str, Said] = {
        "audit": deed.action,
        "caller": deed.caller.name,
        "authenticated": str(deed.caller.method),
        "peer": deed.peer,
        "status": deed.status,
        "request_id": deed.request_id,
        **deed.about,
    }
    return audit_line(said, deed.time_ms)
