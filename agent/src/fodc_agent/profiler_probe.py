# SPDX-License-Identifier: Apache-2.0
"""Finds out what the node's pprof port offers, before anybody waits for an empty profile.

Which kinds there are beside those that are known stands in the port's index, so a kind of a later
Go needs no release of ours.

The one idea: block and mutex profiles exist always and are empty unless the node sets a rate, so a
look at the small cumulative ones tells now what a capture would tell after half a minute.
"""

from functools import partial
from typing import Final

from fodc_agent.lanes import Lane, StuckError
from fodc_agent.node_state import ProfilerFacts
from fodc_agent.scraping.client import HttpClient
from fodc_agent.scraping.faults import FetchError
from fodc_protocol import pprof
from fodc_protocol.errors import FodcError
from fodc_protocol.profiles import Profile, offered_in

_TIMEOUT_S: Final = 5.0
_MAX_BYTES: Final = 4 * 1024 * 1024
_INDEX: Final = "/debug/pprof/"
_INDEX_BYTES: Final = 64 * 1024


async def look_at_profiler(client: HttpClient, base_url: str, lane: Lane) -> ProfilerFacts:
    """Ask for both cumulative profiles and the index; never raises for what the node does."""
    sampled: dict[Profile, bool] = {}
    for kind in (Profile.BLOCK, Profile.MUTEX):
        url = base_url + kind.facts.path
        try:
            answer = await client.get(url, timeout_s=_TIMEOUT_S, max_bytes=_MAX_BYTES)
            summary = await lane.run(partial(pprof.inspect, answer.body))
            sampled[kind] = not summary.empty
        except FetchError as failure:
            missing = failure.status == 404
            return ProfilerFacts(asked=True, problem=failure.message, missing=missing)
        except FodcError as error:
            return ProfilerFacts(asked=True, problem=error.message)
        except StuckError as stuck:
            return ProfilerFacts(asked=True, problem=str(stuck))
    return ProfilerFacts(asked=True, sampled=sampled, offered=await _offered(client, base_url))


async def _offered(client: HttpClient, base_url: str) -> tuple[Profile, ...]:
    """Return the kinds of the index that are new to us; none where a node has no index."""
    try:
        answer = await client.get(
            base_url + _INDEX, timeout_s=_TIMEOUT_S, max_bytes=_INDEX_BYTES, cut=True
        )
    except FetchError:
        return ()
    return offered_in(answer.body.decode("utf-8", "replace"))
