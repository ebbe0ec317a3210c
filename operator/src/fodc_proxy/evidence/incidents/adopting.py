# SPDX-License-Identifier: Apache-2.0
"""Captures that an agent took by itself, as requests of the system; pure.

The one idea: the agent holds the result under an id of its own making.  A request that asks for
just that id fetches it on the way that every capture goes: resumed, verified, stored before the
agent may forget it, and found again after a restart.
"""

from typing import Final

from fodc_api.values import is_request_id
from fodc_api.words import Phase
from fodc_protocol.ids import is_own_command
from fodc_protocol.profiles import Profile
from fodc_proxy.captures.model import Capture, Execution, Request, Selector, Spec
from fodc_proxy.evidence.incidents.model import OwnCapture

CALLER: Final = "agent"
"""Who asks, as requests and the audit show it."""
# The agent may be away for a while: the node was in trouble when it began this.
_EXECUTION: Final = Execution(
    parallelism=4,
    start_deadline_s=3600,
    active_deadline_s=1800,
    target_timeout_slack_s=600,
    backoff_limit=0,
)


def obstacle(capture: OwnCapture) -> str:
    """Say why a capture cannot be fetched at all, empty when it can."""
    if not is_own_command(capture.command_id) or not is_request_id(capture.command_id):
        return f"{capture.command_id} is no id of a capture that an agent takes by itself"
    try:
        Profile(capture.profile)
    except ValueError:
        return f"{capture.profile} is no kind of capture that this proxy knows"
    return ""


def spec_of(address: str, capture: OwnCapture, incident_id: str) -> Spec:
    """Return what asks for a capture that the agent of this address holds."""
    profile = Profile(capture.profile)
    duration_s = profile.facts.default_duration_s
    asked = Capture(str(profile), profile, duration_s, command_id=capture.command_id)
    selector = Selector(names=(address,), include_offline=True)
    return Spec(selector, (asked,), _EXECUTION, purpose=f"taken by the agent: {incident_id}")


def outcome(request: Request) -> tuple[str, str] | None:
    """Return the artifact's id, or why there is none; None while it may still come."""
    results = [result for target in request.targets for result in target.results]
    stored = next((one.artifact_id for one in results if one.artifact_id), "")
    if stored:
        return stored, ""
    if not request.phase.ended:
        return None
    failed = next((one.message or one.reason for one in results if one.phase is Phase.FAILED), "")
    return "", failed or request.message or "it was not captured"
