# SPDX-License-Identifier: Apache-2.0
"""`fodc requests`: list, show, cancel."""

import json
import re

import pytest

from tests.client.stage import Gives, Holds


@pytest.fixture
def partly(fodc, stage, recorded, tmp_path):
    """The id of a request of which one node succeeded and one was away."""
    content = Gives(recorded("heap"))
    stage.agent("data-0", plans={"heap": content})
    gone = stage.agent("data-1", plans={"heap": content})
    stage.leave(gone)
    fodc("capture", "heap", "--all", "--purpose", "slow", "--output-dir", tmp_path)
    return json.loads(fodc("requests", "list", "-o", "json").out)["requests"][0]["id"]


@pytest.fixture
def running(fodc, stage):
    """The id of a request that runs until somebody ends it."""
    stage.agent("data-0", plans={"cpu": Holds(b"")})
    return fodc("capture", "cpu", "--all", "--no-wait").out.strip()


def test_list_shows_a_row_per_request(fodc, partly):
    ran = fodc("requests", "list")

    heading, row = (line.split() for line in ran.out.splitlines())
    assert heading == ["REQUEST", "PROFILES", "PROGRESS", "PHASE", "CREATED", "TOOK"]
    assert row[:4] == [partly, "heap", "2/2", "PartiallySucceeded"]
    assert ran.code == 0


def test_list_wide_says_why_it_was_asked_for(fodc, partly):
    assert fodc("requests", "list", "-o", "wide").out.splitlines()[1].endswith("  slow")


@pytest.mark.parametrize("phase", ["PartiallySucceeded", "partiallysucceeded"])
def test_list_chooses_by_phase_in_any_case(fodc, partly, phase):
    """C2: `--phase running` was refused for its case."""
    assert partly in fodc("requests", "list", "--phase", phase).out


def test_list_says_when_no_request_fits(fodc, partly):
    ran = fodc("requests", "list", "--phase", "Running")

    assert (ran.code, ran.out, ran.err) == (0, "", "no request fits\n")


def test_list_refuses_a_phase_that_is_none(fodc_alone):
    ran = fodc_alone("requests", "list", "--phase", "runing")

    assert ran.code == 2
    assert "--phase 'runing' is unknown. Did you mean Running" in ran.err


def test_list_of_a_node_has_its_requests_and_no_others(fodc, partly):
    assert partly in fodc("requests", "list", "--node", "data-1").out


def test_list_of_an_unknown_node_is_not_found(fodc, partly):
    """C3: it exited with 0."""
    ran = fodc("requests", "list", "--node", "data-9")

    assert ran.code == 4
    assert ran.err.startswith("fodc: no such node: data-9. Did you mean data-")


def test_show_tells_each_result_and_advises_once(fodc, partly):
    """C4: reason, message and advice stood there twice."""
    ran = fodc("requests", "show", partly)

    table = ran.out.partition("\n\n")[2].splitlines()
    assert table[1].split()[:4] == ["data-0", "heap", "Succeeded", "0.1s"]
    assert table[2].split()[:3] == ["data-1", "heap", "Skipped"]
    assert "Offline: no heartbeat from its agent; --include-offline would wait" in table[2]
    assert re.search(r"^asked for: +slow$", ran.out, re.MULTILINE)
    assert ran.err == (
        "Offline: No heartbeat from this node's agent; check the pod and the agent's log.\n"
    )
    assert ran.code == 0


def test_show_json_is_the_proxys_document(fodc, partly):
    document = json.loads(fodc("requests", "show", partly, "-o", "json").out)

    assert document["id"] == partly
    assert [target["phase"] for target in document["targets"]] == ["Succeeded", "Skipped"]


def test_show_wait_tells_by_the_exit_code(fodc, partly):
    assert fodc("requests", "show", partly, "--wait").code == 5


def test_show_says_not_found(fodc, stage):
    ran = fodc("requests", "show", "nothing")

    assert ran.code == 4
    assert ran.err == "fodc: request nothing does not exist (any more)\n"


def test_show_of_a_running_request_names_no_problem(fodc, running):
    ran = fodc("requests", "show", running)

    assert "Running" in ran.out
    assert ran.err == ""


def test_cancel_says_the_phase(fodc, running):
    ran = fodc("requests", "cancel", running, "--mode", "ABORT")

    assert ran.code == 0
    assert re.fullmatch(
        rf"request {running}(: abort was asked for, now| has ended:) \w+\n", ran.err
    )
    assert fodc("requests", "show", running, "--wait").code == 1


def test_cancel_of_an_unknown_request_says_not_found(fodc, stage):
    assert fodc("requests", "cancel", "nothing").code == 4
