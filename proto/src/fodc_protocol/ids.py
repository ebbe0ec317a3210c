# SPDX-License-Identifier: Apache-2.0
"""Identifiers: their types, how they are derived and what they may look like.

The one idea: a command's id is computed from what it asks for, so that a program which restarts
derives the same id and re-attaches to what already runs instead of running it twice.
"""

import hashlib
import re
from typing import Final, NewType

from fodc_protocol.errors import BadRequestError

AgentId = NewType("AgentId", str)
"""Given by the proxy, new for each registration."""
Incarnation = NewType("Incarnation", str)
"""Chosen by the agent process at its start: another incarnation means a restart."""
RequestId = NewType("RequestId", str)
"""One diagnostic request over all of its targets."""
CommandId = NewType("CommandId", str)
"""One attempt of one capture on one node."""
ArtifactId = NewType("ArtifactId", str)
"""One stored result."""

MAX_ID_LENGTH: Final = 128
_OWN: Final = "own-"
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]")
_DNS_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def command_id(request_id: RequestId, node: str, capture: str, attempt: int) -> CommandId:
    """Return the id of one attempt of one capture on one node: the same input, the same id."""
    return CommandId("cmd-" + _digest(request_id, node, capture, str(attempt)))


def own_command_id(incarnation: str, occurrence: int, profile: str) -> CommandId:
    """Return the id of a capture that an agent begins by itself, for an occurrence it numbers."""
    return CommandId(_OWN + _digest(incarnation, str(occurrence), profile))


def is_own_command(command: str) -> bool:
    """Say whether an agent began this capture by itself."""
    return command.startswith(_OWN)


def artifact_id(command: CommandId, name: str) -> ArtifactId:
    """Return the id of a result of `command`, told apart by `name` when there are several."""
    return ArtifactId("art-" + _digest(command, name))


def _digest(*parts: str) -> str:
    """Hash parts with their lengths, so that ("ab", "c") differs from ("a", "bc")."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(data) + data)
    return digest.hexdigest()[:24]


def safe_name(text: str, *, max_length: int = 120) -> str:
    """Return `text` fit for a file name or object key: one path part, never "." or "..".

    Characters outside [A-Za-z0-9._-] become `_`, a leading dot too; nothing becomes `_`. What is
    too long is cut and ends in a short hash, so that two long names stay apart.
    """
    name = _UNSAFE.sub("_", text)
    if not name or name[0] == ".":
        name = "_" + name[1:]
    if len(name) <= max_length:
        return name
    return f"{name[: max_length - 9]}-{_digest(text)[:8]}"


def is_id(text: str) -> bool:
    """Say whether `text` may be an id: 1 to 128 of [A-Za-z0-9._-], starting with a letter or digit.

    An id that passes is also safe as a single path part.
    """
    return len(text) <= MAX_ID_LENGTH and _ID.fullmatch(text) is not None


def checked_id(text: str, field: str) -> str:
    """Return `text`; raise BadRequestError that names `field` when it cannot be an id."""
    if not is_id(text):
        shown = text if len(text) <= MAX_ID_LENGTH else text[:MAX_ID_LENGTH] + "…"
        raise BadRequestError(
            f"{field} {shown!r} is no valid id: 1 to {MAX_ID_LENGTH} letters, digits, '.', '_' or "
            "'-', starting with a letter or digit"
        )
    return text
