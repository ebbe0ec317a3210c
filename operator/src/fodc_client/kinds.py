# SPDX-License-Identifier: Apache-2.0
"""Which kinds of profile a person can ask for: the known ones and those that nodes offer; pure."""

import contextlib
from collections.abc import Iterable

from fodc_api.cluster import Node
from fodc_client.errors import BadUsageError
from fodc_client.suggestions import did_you_mean
from fodc_protocol.profiles import Profile, open_kinds


def kind_of(word: str, offered: Iterable[str] | None = None) -> Profile:
    """Return a kind of profile; raises BadUsageError for one that is not among what is `offered`.

    The known kinds always are. None stands for nodes that were not asked yet.
    """
    words = (*Profile, *(offered or ()))
    with contextlib.suppress(ValueError):
        kind = Profile(word)
        if offered is None or kind in words:
            return kind
    hint = did_you_mean(word, words) or f"There are: {', '.join(words)}"
    raise BadUsageError(f"PROFILE {word!r} is unknown. {hint}")


def offered_by(nodes: Iterable[Node]) -> tuple[Profile, ...]:
    """Return the kinds beside the known ones that these nodes have, whatever their state."""
    return open_kinds(one.kind for node in nodes for one in node.capabilities)
