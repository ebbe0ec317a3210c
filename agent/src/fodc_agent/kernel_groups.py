# SPDX-License-Identifier: Apache-2.0
"""The groups of kernel telemetry: one concern each, loaded or not as a whole. Pure.

The one idea: what a kernel lacks costs the group that needs it and no other, and every group says
in words what is missing without it.
"""

from collections.abc import Mapping
from typing import Final

from fodc_protocol.lean import dataclass


@dataclass(frozen=True, slots=True)
class Group:
    """One group: what it counts, and the tracepoints of tracefs that its programs need.

    Programs that are not in `tracepoints` know their own through BTF.
    """

    name: str
    about: str
    tracepoints: Mapping[str, str]
    by_default: bool


def _group(name: str, about: str, *, by_default: bool, **tracepoints: str) -> Group:
    return Group(name, about, tracepoints, by_default)


GROUPS: Final[Mapping[str, Group]] = {
    one.name: one for one in (_group("sys", "read latency, fadvise", by_default=True),)
}
KERNEL_GROUPS: Final = tuple(GROUPS)
KERNEL_DEFAULTS: Final = tuple(name for name, one in GROUPS.items() if one.by_default)
