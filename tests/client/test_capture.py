# SPDX-License-Identifier: Apache-2.0
"""`fodc capture`: asking, watching, saving, and every way in which it can go wrong."""

import json

import pytest


@pytest.fixture
def one_cpu(proxy, make):
    """A request of one CPU profile that runs and succeeds."""
    content = make.recorded("cpu")
    proxy.artifacts["art-1"] = content
    done = make.target("data-0", "Succeeded", make.stored("cpu", content, "art-1"))
    proxy.steps = [
        make.request(1, "Pending", make.target("data-0", "Pending")),
        make.request(2, "Running", make.target("data-0", "Running", make.result())),
        make.request(3, "Succeeded", done),
    ]
    return content


def test_capture_saves_the_profile_and_shows_what_is_hot(fodc, proxy, one_cpu, tmp_path):
    ran = fodc("capture", "cpu", "--node", "data-0", "--seconds", "5", "--output-dir", tmp_path)

    saved = tmp_path / "data-0-cpu-20261121T070639Z.pb.gz"
    assert saved.read_bytes() == one_cpu
    assert str(saved) in ran.out
    assert "github.com/klauspost/compress/s2.s2Decode" in ran.out
    assert ran.code == 0
    assert [path.name for path in tmp_path.iterdir()] == [saved.name]


def test_capture_says_each_change_as_a_line_when_piped(fodc, one_cpu, tmp_path):
    ran = fodc("capture", "cpu", "--node", "data-0", "--output-dir", tmp_path)

    assert ran.err.splitlines() == [
        "request req-1: cpu on 1 nodes",
        "data-0 cpu Running",
        "data-0 cpu Succeeded 24.3 KiB in 5.1s",
    ]


def test_capture_sends_what_was_asked_for(fodc, proxy, one_cpu, tmp_path):
    fodc(
        "capture", "cpu", "--role", "ROLE_DATA", "--tier", "hot", "warm", "--seconds", "7s",
        "--parallelism", "2", "--reason", "slow", "--timeout", "2m", "--output-dir", tmp_path,
    )  # fmt: skip

    body = proxy.bodies[0]
    assert body.pop("id").startswith("cli-")
    assert body == {
        "target": {"roles": ["ROLE_DATA"], "tiers": ["hot", "warm"]},
        "captures": [{"profile": "cpu", "duration_seconds": 7}],
        "execution": {"parallelism": 2, "active_deadline_seconds": 120},
        "reason": "slow",
    }


def test_capture_json_holds_the_request_and_the_files(fodc, one_cpu, tmp_path):
    ran = fodc("capture", "cpu", "--all", "--output-dir", tmp_path, "-o", "json")

    document = json.loads(ran.out)
    assert document["request"]["phase"] == "Succeeded"
    assert [file["path"] for file in document["files"]] == [
        str(tmp_path / "data-0-cpu-20261121T070639Z.pb.gz")
    ]
