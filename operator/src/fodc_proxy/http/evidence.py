# SPDX-License-Identifier: Apache-2.0
"""`/cluster/topology` and `/cluster/lifecycle`: views of the cluster in the existing shapes.

The one idea: the bodies have no place for what is missing or old, so headers say it.
"""

from collections.abc import Sequence
from typing import Final, TypeVar

from fodc_proxy.evidence.views import Shown
from fodc_proxy.http.answers import Reply
from fodc_proxy.http.routes import Call, Parts, PassedOver
from fodc_proxy.queries.pages.metrics import header_name, partial_headers

T = TypeVar("T")
_MOST_STALE: Final = 100


async def topology(parts: Parts, _call: Call[PassedOver]) -> Reply:
    """Show who is in the cluster and who calls whom."""
    shown = await parts.views.topology()
    return Reply(shown.value, headers=wholeness(shown))


async def lifecycle(parts: Parts, _call: Call[PassedOver]) -> Reply:
    """Show how groups are stored, what was migrated, and whether the schema is everywhere."""
    shown = await parts.views.lifecycle()
    return Reply(shown.value, headers=wholeness(shown))


def wholeness(shown: Shown[T]) -> dict[str, str]:
    """Return the headers that say who is missing and how old what stands in for them is."""
    headers = partial_headers(shown.asked, shown.answered, shown.missing)
    headers["X-FODC-Age-Seconds"] = f"{shown.age_ms / 1000:.3f}"
    if shown.stale:
        headers["X-FODC-Stale"] = _stale(shown.stale)
    return headers


def _stale(stale: Sequence[tuple[str, int]]) -> str:
    told = [f"{header_name(pod)}={age_ms / 1000:.0f}s" for pod, age_ms in stale[:_MOST_STALE]]
    more = len(stale) - len(told)
    return ",".join(told) + (f",+{more}" if more else "")
