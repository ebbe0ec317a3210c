# SPDX-License-Identifier: Apache-2.0
"""From the field names of the API to the words of the command line; pure.

The one idea: a person typed `--seconds`, so no message says `captures[0].duration_seconds`.
"""

import re
from typing import Final

OPTIONS: Final = {
    "captures": "PROFILE",
    "captures.profile": "PROFILE",
    "captures.duration_seconds": "--seconds",
    "captures.gc": "--gc",
    "captures.end": "--end",
    "captures.span_seconds": "--span",
    "target.names": "--node",
    "target.roles": "--role",
    "target.tiers": "--tier",
    "target.include_offline": "--include-offline",
    "execution.parallelism": "--parallelism",
    "execution.active_deadline_seconds": "--timeout",
    "purpose": "--purpose",
    "role": "--role",
    "phase": "--phase",
    "mode": "--mode",
    "profile": "--profile",
    "request_id": "--request",
    "node_id": "NODE",
    "pod_name": "NODE",
    "start_time": "--since",
}
_PLACE: Final = re.compile(r"\[\d+\]")


def of_option(field: str, message: str) -> str:
    """Return a message about a field of the API as one about the option that filled it."""
    option = OPTIONS.get(_PLACE.sub("", field))
    if option is None:
        named = f"{field}: {message}" if field and field not in message else message
        return f"the proxy refused: {named}"
    if message.startswith(field):
        return option + message.removeprefix(field)
    return f"{option}: {message}"


def of_message(message: str) -> str:
    """Return what the proxy tells of a target, with the option in place of the API's field."""
    return message.replace("include_offline", "--include-offline")
