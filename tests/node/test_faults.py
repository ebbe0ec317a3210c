# SPDX-License-Identifier: Apache-2.0
"""Faults on request."""

import http.client
import socket
import time

import pytest

from .asking import ask

MIB = 1024 * 1024


@pytest.fixture
def node(shared_node):
    yield shared_node
    shared_node.fault("none")
    shared_node.fault("none", where="pprof")


def test_error500_lasts_until_it_is_cleared(node):
    node.fault("error500")
    assert ask(node.metrics_port, "/metrics").status == 500
    node.fault("none")
    assert ask(node.metrics_port, "/metrics").status == 200


def test_fault_of_one_place_leaves_the_other_alone(node):
    node.fault("error500", where="pprof")
    assert ask(node.pprof_port, "/debug/pprof/heap").status == 500
    assert ask(node.metrics_port, "/metrics").status == 200


def test_fault_ends_by_itself(node):
    node.fault("error500", for_s=0.1)
    time.sleep(0.15)  # the node's own clock decides
    assert ask(node.metrics_port, "/metrics").status == 200


def test_hanging_answer_does_not_come_within_its_time(node):
    node.fault("hang", for_s=5)
    with pytest.raises(TimeoutError):
        ask(node.metrics_port, "/metrics", deadline_s=0.3)


def test_hanging_answer_comes_when_the_fault_ends(node):
    began = time.monotonic()
    node.fault("hang", for_s=0.5)
    assert ask(node.metrics_port, "/metrics").status == 200
    assert time.monotonic() - began >= 0.5


def test_malformed_page_holds_every_prepared_line_between_the_usual_ones(node):
    node.fault("malformed")
    text = ask(node.metrics_port, "/metrics").body.decode()
    for line in (
        'banyandb_sample_hard_comma{path="a,b,c"} 1',
        'banyandb_sample_hard_quote{path="say \\"hi\\" twice"} 3',
        'banyandb_sample_hard_newline{path="one\\ntwo"} 4',
        'banyandb_sample_hard_timestamp{path="a"} 7 1700000000000',
        'banyandb_sample_bad_value{path="a"} many',
        'banyandb_sample_bad_missing_quote{path="a} 1',
        'banyandb_sample_bad_duplicate_label{path="a",path="b"} 1',
        'banyandb_sample_odd_escape{path="a\\qb"} 1',
    ):
        assert f"\n{line}\n" in text
    assert text.startswith("# HELP ")
    assert text.count("\n# TYPE ") == 118
    assert "\nprocess_virtual_memory_max_bytes " in text
    assert "\n;" not in text


def test_huge_page_streams_200_mib_while_the_node_stays_small(node):
    node.fault("huge")
    assert count_body(node.metrics_port, "/metrics") >= 200 * MIB
    node.fault("none")
    page = ask(node.metrics_port, "/metrics").body.decode()
    resident = page.split("\nprocess_resident_memory_bytes ")[1].split("\n")[0]
    assert float(resident) < 150 * MIB


def count_body(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path)
    response = connection.getresponse()
    total = 0
    while piece := response.read(MIB):
        total += len(piece)
    connection.close()
    return total


def test_huge_answer_ends_when_the_client_leaves(node):
    node.fault("huge")
    with socket.create_connection(("127.0.0.1", node.metrics_port), timeout=5) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: node\r\n\r\n")
        assert client.recv(12) == b"HTTP/1.1 200"
    node.fault("none")
    assert ask(node.metrics_port, "/metrics").status == 200


def test_slow_page_trickles_and_arrives_whole_when_the_fault_is_cleared(node):
    node.fault("slow")
    connection = http.client.HTTPConnection("127.0.0.1", node.metrics_port, timeout=20)
    began = time.monotonic()
    connection.request("GET", "/metrics")
    response = connection.getresponse()
    head = response.read(4 * 1024)
    took = time.monotonic() - began
    node.fault("none")
    body = head + response.read()
    connection.close()
    assert took > 0.2
    assert body.count(b"# TYPE ") == 118


@pytest.mark.parametrize(
    ("where", "path"), [("metrics", "/metrics"), ("pprof", "/debug/pprof/heap")]
)
def test_truncated_answer_announces_more_than_it_sends(node, where, path):
    node.fault("truncate", where=where)
    port = node.metrics_port if where == "metrics" else node.pprof_port
    with pytest.raises(http.client.IncompleteRead) as seen:
        ask(port, path)
    assert len(seen.value.partial) > 0
    assert seen.value.expected > 0


def test_malformed_profile_is_no_gzip_stream(node):
    node.fault("malformed", where="pprof")
    assert ask(node.pprof_port, "/debug/pprof/heap").body == b"\x1f\x8b\x08\x00not a profile"


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("kind=explode", b"kind: "),
        ("", b"kind: "),
        ("kind=hang&where=disk", b"where: "),
        ("kind=hang&for=soon", b"for: "),
        ("kind=hang&for=0s", b"for: "),
    ],
)
def test_wrong_fault_is_refused_and_names_the_parameter(node, query, named):
    said = ask(node.metrics_port, f"/sample/fault?{query}", method="POST")
    assert (said.status, said.body[: len(named)]) == (400, named)


@pytest.mark.parametrize("query", ["n=-1", "n=many", "", "n=100000"])
def test_wrong_load_is_refused(node, query):
    said = ask(node.metrics_port, f"/sample/load?{query}", method="POST")
    assert (said.status, said.body[:3]) == (400, b"n: ")


@pytest.mark.parametrize("path", ["/sample/load?n=1", "/sample/fault?kind=hang"])
def test_controls_want_post(node, path):
    assert ask(node.metrics_port, path).status == 405
    assert ask(node.metrics_port, "/metrics").status == 200
