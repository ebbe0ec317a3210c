# SPDX-License-Identifier: Apache-2.0
"""Profiles of short memory that an agent of the link took, as `/pressure-profiles` shows them."""

import json
from types import SimpleNamespace

from msgspec.json import encode

from fodc_proxy.evidence.incidents import joining
from fodc_proxy.evidence.own_pressures import OwnPressures
from fodc_proxy.queries.results import Selection

from ..incidents.told import NOW_MS, fact  # noqa: TID252 - one folder's tests

STORED = {
    "art-heap": SimpleNamespace(manifest=SimpleNamespace(size_bytes=70), damage=""),
    "art-bad": SimpleNamespace(manifest=SimpleNamespace(size_bytes=70), damage="cut"),
    "art-late": SimpleNamespace(manifest=SimpleNamespace(size_bytes=9), damage=""),
}
STORE = SimpleNamespace(find=STORED.get)
NOBODY = SimpleNamespace(find=lambda _address: None)
MEMORY = {"rss_bytes": "900", "limit_bytes": "1000", "percent": "90.0", "trigger_percent": "80"}


def incident(**outcomes: str):
    """One incident with two times at which memory was short; outcomes by command."""
    told = {"captures": "heap=own-1,goroutine=own-2", **MEMORY}
    later = {"captures": "heap=own-3", **MEMORY, "rss_bytes": "no number"}
    made = joining.opened(fact("memory-pressure", 1, NOW_MS, **told), "inc-1", NOW_MS)
    made = joining.joined(made, fact("memory-pressure", 2, NOW_MS + 1, **later), NOW_MS)
    made = joining.joined(made, fact("node-gone", 3, NOW_MS, captures="window=own-4"), NOW_MS)
    for command, artifact in outcomes.items():
        made = joining.with_outcome(made, command.replace("_", "-"), artifact, "")
    return made


def test_each_time_is_an_event_with_what_of_its_profiles_is_stored() -> None:
    """Those of the other time, a damaged one, and one that is still to come, are not among them."""
    one = incident(own_1="art-heap", own_2="art-bad", own_3="art-late", own_4="art-heap")
    later, first = OwnPressures((one,), STORE, NOBODY).known(Selection())

    assert json.loads(encode(first)) == {
        "captured_at": "2027-01-15T08:00:00Z",
        "agent_id": "",
        "pod_name": "data-0",
        "role": "ROLE_DATA",
        "profile_id": "20270115T080000.000000000Z",
        "source_endpoint": "",
        "profiles": [
            {
                "type": "heap",
                "filename": "heap.pprof",
                "filepath": "20270115T080000.000000000Z/heap.pprof",
                "format": "pprof",
                "size_bytes": 70,
            }
        ],
        "rss_bytes": 900,
        "cgroup_limit_bytes": 1000,
        "threshold_bytes": 800,
        "trigger_percent": 80,
    }
    assert (later.profile_id, later.rss_bytes, len(later.profiles)) == (
        "20270115T080000.001000000Z",
        0,
        1,
    )


def test_a_pod_is_found_in_any_case_and_with_its_namespace() -> None:
    own = OwnPressures((incident(own_1="art-heap"),), STORE, NOBODY)
    names = ("", "DATA-0", "banyandb/data-0", "data-1")

    assert [len(own.known(Selection(pod_name=name))) for name in names] == [2, 2, 2, 0]


def test_a_profile_is_found_by_its_event_and_kind() -> None:
    own = OwnPressures((incident(own_1="art-heap"),), STORE, NOBODY)
    name = "20270115T080000.000000000Z"
    kept, stored = own.profile("data-0", name, "heap") or (None, None)

    assert (kept.name, stored) == (name, STORED["art-heap"])
    assert own.profile("data-0", name, "goroutine") is None
    assert own.profile("data-1", name, "heap") is None
    assert own.profile("data-0", "20270115T080000.5Z", "heap") is None
