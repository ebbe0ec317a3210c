# SPDX-License-Identifier: Apache-2.0
"""Whether a node was told the same as its peers, as a condition, pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fodc_kube.conditions import Condition
from fodc_kube.texts import cut

IN_SYNC: Final = "ConfigInSync"
_NAMED: Final = 8


def in_sync(differing: Sequence[str] | None, before: Mapping[str, Any]) -> tuple[Condition, ...]:
    """Return the condition for the settings in which a node differs from the most of its peers.

    None means that nothing is known of it: then the condition is Unknown where it was told before,
    and there is none of a node whose agent never told a configuration.
    """
    if differing is None:
        known = any(one.get("type") == IN_SYNC for one in before.get("conditions") or ())
        text = "nothing is known of what the node is told"
        return (Condition(IN_SYNC, "Unknown", "NotTold", text),) if known else ()
    if not differing:
        text = "the node is told the same as the most of its role and tier"
        return (Condition(IN_SYNC, "True", "InSync", text),)
    names = ", ".join(differing[:_NAMED])
    more = f" and {len(differing) - _NAMED} more" if len(differing) > _NAMED else ""
    text = f"differs from the most of its role and tier in {names}{more}; see: fodc config diff"
    return (Condition(IN_SYNC, "False", "Drift", cut(text, 1024)),)
