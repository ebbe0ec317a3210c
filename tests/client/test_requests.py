# SPDX-License-Identifier: Apache-2.0
"""`fodc requests`: list, show, cancel."""

import json

LIST = """\
REQUEST  PROFILES  PROGRESS  PHASE      CREATED              TOOK
req-1    cpu            1/1  Succeeded  2026-11-21 07:06:38    6s
"""

SHOW = """\
request:   req-1
phase:     PartiallySucceeded
created:   2026-11-21 07:06:38
progress:  2/2

NODE    PROFILE  PHASE      ELAPSED      SIZE  SAMPLES  ARTIFACT  WHY
data-0  cpu      Succeeded     5.1s  24.3 KiB      247  art-1     -
data-1  -        Skipped          -         -        -  -         Offline: no heartbeat
"""


def test_list_shows_a_row_per_request(fodc, proxy, make):
    done = make.target("data-0", "Succeeded")
    proxy.steps = [
        make.request(3, "Succeeded", done, finished_at="2026-11-21T07:06:45.000Z"),
    ]

    ran = fodc("requests", "list")

    assert ran.out == LIST
    assert ran.code == 0


def test_list_sends_its_filters(fodc, proxy):
    ran = fodc("requests", "list", "--phase", "Running", "--node", "data-0")

    assert proxy.asked == ["GET /diagnostics/requests?phase=Running&node_id=data-0"]
    assert ran.err == "no requests; `fodc capture` makes one\n"


def partly(make):
    content = make.recorded("cpu")
    return make.request(
        4,
        "PartiallySucceeded",
        make.target("data-0", "Succeeded", make.stored("cpu", content, "art-1")),
        make.target("data-1", "Skipped", reason="Offline", message="no heartbeat"),
    )


def test_show_tells_each_result_and_advises(fodc, proxy, make):
    proxy.steps = [partly(make)]

    ran = fodc("requests", "show", "req-1")

    assert ran.out == SHOW
    assert "data-1 Skipped: Offline: no heartbeat. No heartbeat from this node" in ran.err
    assert ran.code == 0


def test_show_json_is_the_proxys_document(fodc, proxy, make):
    proxy.steps = [partly(make)]

    assert json.loads(fodc("requests", "show", "req-1", "-o", "json").out) == partly(make)


def test_show_wait_follows_to_the_end_and_tells_by_the_exit_code(fodc, proxy, make):
    proxy.steps = [
        make.request(1, "Running", make.target("data-0", "Running", make.result())),
        partly(make),
    ]

    ran = fodc("requests", "show", "req-1", "--wait")

    assert ran.code == 5
    assert "data-0 cpu Succeeded" in ran.err


def test_show_says_not_found(fodc):
    ran = fodc("requests", "show", "nothing")

    assert ran.code == 4
    assert ran.err == "fodc: no request 'nothing'\n"


def test_cancel_says_the_phase(fodc, proxy, make):
    proxy.steps = [make.request(1, "Running", make.target("data-0", "Running"))]
    fodc("requests", "show", "req-1")
    proxy.aborted = [make.request(2, "Finalizing", make.target("data-0", "Running"))]

    ran = fodc("requests", "cancel", "req-1", "--mode", "stop")

    assert ran.err == "request req-1: stop was asked for, now Finalizing\n"
    assert proxy.asked[-1] == "DELETE /diagnostics/requests/req-1?mode=stop"


def test_cancel_of_an_unknown_request_says_not_found(fodc):
    assert fodc("requests", "cancel", "nothing").code == 4
