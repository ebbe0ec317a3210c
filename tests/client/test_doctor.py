# SPDX-License-Identifier: Apache-2.0
"""`fodc doctor`: what is found, how bad it is, and that each finding has advice."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from fodc_client import checkup
from fodc_client.__main__ import main
from fodc_client.commands import doctor
from fodc_protocol.errors import Reason, advice


@pytest.fixture(autouse=True)
def same_clock(monkeypatch):
    """The fake proxy's time is 2026-11-21T08:00:00Z: let this machine agree."""

    class Frozen(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime(2026, 11, 21, 8, 0, 0, tzinfo=UTC)

    monkeypatch.setattr(doctor, "datetime", Frozen)


@pytest.fixture
def findings(fodc):
    def examine(*words):
        ran = fodc("doctor", "-o", "json", *words)
        return ran.code, json.loads(ran.out)["findings"]

    return examine


def test_doctor_says_that_all_is_well(fodc):
    ran = fodc("doctor")

    assert ran.code == 0
    assert ran.out == ""
    assert ran.err == "all is well: proxy ready, all nodes online and whole\n"


def test_doctor_prints_problems_first_and_counts(fodc, proxy, make):
    disabled = {"kind": "block", "state": "Disabled", "reason": "RateZero", "message": "no rate"}
    proxy.nodes = [
        make.node("a", capabilities=[disabled]),
        make.node("b", phase="Offline", heartbeat_age_seconds=95),
    ]

    ran = fodc("doctor")

    lines = ran.out.splitlines()
    assert ran.code == 1
    assert lines[1].split()[:3] == ["problem", "b", "offline"]
    assert "1m35s ago" in lines[1]
    assert lines[2].split()[:4] == ["note", "a", "block:", "Disabled"]
    assert ran.err == "1 problem, 1 note\n"


CHANGES = {
    "an old heartbeat": {"heartbeat_age_seconds": 45.0},
    "an unknown role": {"role": "ROLE_UNSPECIFIED"},
    "no window": {"window": None},
    "a degraded node": {"phase": "Degraded"},
    "a condition": {"conditions": [{"type": "NodeUnreachable", "reason": "Odd", "message": "m"}]},
    "an unknown capability": {"capabilities": [{"kind": "cpu", "state": "Unknown"}]},
    "a clock ahead": {
        "window": {
            "oldest": "2026-11-21T07:00:00Z",
            "newest": "2026-11-21T08:00:30Z",
            "series": 1,
            "bytes": 1,
        }
    },
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_doctor_finds_a_problem_of_a_node_and_advises(findings, proxy, make, changes):
    proxy.nodes = [make.node("data-0", **changes)]

    code, found = findings()

    assert code == 1
    assert [(each["level"], each["where"]) for each in found] == [("problem", "data-0")]
    assert found[0]["advice"]
    assert found[0]["why"]


@pytest.mark.parametrize(
    "reason",
    [
        *("FlavourBasic", "NoBTF", "NoCapability", "NoCgroup", "NoPSI", "NoProcess", "NoTracefs"),
        *("AmbiguousProcess", "NotShared", "OutsideNamespace", "PermissionDenied", "Remote"),
    ],
)
def test_doctor_advises_on_what_an_agent_cannot_see(findings, proxy, make, reason):
    told = {"kind": "process", "state": "Unsupported", "reason": reason, "message": "why"}
    proxy.nodes = [make.node(capabilities=[told])]

    _, found = findings()

    assert [each["why"] for each in found] == [f"{reason}: why"]
    assert found[0]["advice"] not in {"", advice(Reason.UNSUPPORTED), "See the agent's log."}


def test_doctor_notes_an_agent_that_declares_nothing(findings, proxy, make):
    proxy.nodes = [make.node(contract="fodc", capabilities=[], window=None)]

    code, found = findings()

    assert code == 0
    assert [each["matter"] for each in found] == ["capabilities"]
    assert findings("--strict")[0] == 1


def test_doctor_finds_an_empty_fleet(findings, proxy):
    proxy.nodes = []

    assert findings()[0] == 1


def test_doctor_finds_a_proxy_that_is_not_ready(findings, proxy):
    proxy.checks = [{"name": "artifacts", "ok": False, "message": "the directory is read-only"}]

    code, found = findings()

    assert code == 1
    assert found[0]["matter"] == "readiness: artifacts"
    assert found[0]["why"] == "the directory is read-only"


def test_doctor_finds_nodes_that_do_not_tell_their_configuration(findings, proxy):
    missing = {"node_id": "data-1", "reason": "DeadlineExceeded", "message": "no answer in 10 s"}
    proxy.configuration = {"asked": 2, "answered": 1, "missing": [missing]}

    code, found = findings()

    assert code == 1
    assert found[0]["where"] == "data-1"
    assert found[0]["matter"] == "configuration"


def test_doctor_only_notes_that_configuration_is_not_supported(findings, proxy):
    missing = {"node_id": "data-1", "reason": "Unsupported", "message": "an old agent"}
    proxy.configuration = {"asked": 2, "answered": 1, "missing": [missing]}

    code, found = findings()

    assert code == 0
    assert [(each["level"], each["where"]) for each in found] == [("note", "data-1")]


def test_clock_of_the_proxy_is_compared_with_this_machine():
    here = datetime(2026, 11, 21, 8, tzinfo=UTC)

    late = list(checkup.of_clock(here - timedelta(seconds=30), here, 0.1))
    fine = list(checkup.of_clock(here + timedelta(seconds=4), here, 0.1))

    assert [finding.why for finding in late] == ["it is 30s behind this machine"]
    assert fine == []


def test_doctor_exits_with_3_when_nobody_answers(capsys):
    assert main(["doctor", "--proxy", "http://127.0.0.1:1"]) == 3
    assert "cannot reach the proxy at http://127.0.0.1:1: connection refused" in (
        capsys.readouterr().err
    )
