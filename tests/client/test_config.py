# SPDX-License-Identifier: Apache-2.0
"""`fodc config`: one node's settings, and drift between nodes of a role."""

import json

import pytest

SHOW = """\
SETTING          VALUE            SOURCE
etcd-password    ****** (redacted)  flag
logging-level    info             default
"""

DIFF = """\
ROLE_DATA: 3 nodes
SETTING         KIND   VALUE         NODES
cache-max-size  drift  1GiB (most)   data-0, data-1
                       (not set)     data-2
"""


def entry(name, value, source="default", *, redacted=False):
    return {"name": name, "value": value, "source": source, "redacted": redacted}


@pytest.fixture
def configured(proxy):
    entries = [
        entry("logging-level", "info"),
        entry("etcd-password", "******", "flag", redacted=True),
    ]
    proxy.configuration = {
        "asked": 1,
        "answered": 1,
        "missing": [],
        "nodes": [
            {
                "node_id": "data-0",
                "role": "ROLE_DATA",
                "hash": "abcdef0123456789",
                "epoch": 3,
                "collected_at": "2026-11-21T07:06:39.000Z",
                "stale": False,
                "entries": entries,
                "conditions": [],
            }
        ],
    }
    return proxy.configuration


def test_show_lists_settings_by_name_and_marks_secrets(fodc, proxy, configured):
    ran = fodc("config", "show", "data-0")

    assert [line.split() for line in ran.out.splitlines()] == [
        line.split() for line in SHOW.splitlines()
    ]
    assert ran.err == ("data-0: 2 settings, collected 2026-11-21 07:06:39 UTC, hash abcdef012345\n")
    assert proxy.asked == ["GET /cluster/config?node_id=data-0"]


def test_show_says_when_the_answer_is_stale(fodc, configured):
    configured["nodes"][0]["stale"] = True

    assert "STALE: the node has not answered since" in fodc("config", "show", "data-0").err


def test_show_says_not_found_for_an_unknown_node(fodc, configured):
    configured["nodes"] = []

    assert fodc("config", "show", "data-9").code == 4


def test_show_fails_with_the_reason_when_the_node_does_not_answer(fodc, configured):
    configured["nodes"] = []
    configured["missing"] = [{"node_id": "data-0", "reason": "Offline", "message": "gone"}]

    ran = fodc("config", "show", "data-0")

    assert ran.code == 1
    assert "data-0 did not answer: Offline: gone. No heartbeat" in ran.err


@pytest.fixture
def drifted(proxy):
    drift = {
        "name": "cache-max-size",
        "kind": "drift",
        "majority": "1GiB",
        "values": [
            {"value": "1GiB", "nodes": ["data-0", "data-1"]},
            {"value": None, "nodes": ["data-2"]},
        ],
    }
    identity = {
        "name": "node-host",
        "kind": "identity",
        "majority": None,
        "values": [{"value": "10.0.0.7", "nodes": ["data-0"]}],
    }
    role = {
        "role": "ROLE_DATA",
        "nodes": ["data-0", "data-1", "data-2"],
        "differences": [drift, identity],
    }
    proxy.configuration = {"asked": 3, "answered": 3, "missing": [], "roles": [role]}
    return proxy.configuration


def test_diff_shows_drift_and_marks_the_majority(fodc, proxy, drifted):
    ran = fodc("config", "diff", "--role", "ROLE_DATA")

    assert [line.split() for line in ran.out.splitlines()] == [
        line.split() for line in DIFF.splitlines()
    ]
    assert ran.code == 0
    assert proxy.asked == ["GET /cluster/config?role=ROLE_DATA&diff=role"]


def test_diff_shows_what_must_differ_only_when_wide(fodc, drifted):
    assert "node-host" not in fodc("config", "diff").out
    assert "node-host" in fodc("config", "diff", "-o", "wide").out


def test_diff_check_exits_with_1_on_drift_only(fodc, drifted):
    assert fodc("config", "diff", "--check").code == 1
    del drifted["roles"][0]["differences"][0]

    ran = fodc("config", "diff", "--check")

    assert ran.code == 0
    assert ran.err == "ROLE_DATA: no drift between 3 nodes\n"


def test_diff_is_partial_when_nodes_are_missing(fodc, drifted):
    drifted["missing"] = [{"node_id": "data-3", "reason": "DeadlineExceeded", "message": "10 s"}]

    ran = fodc("config", "diff", "-o", "json")

    assert ran.code == 5
    assert json.loads(ran.out) == drifted
    assert "data-3 did not answer" in ran.err
