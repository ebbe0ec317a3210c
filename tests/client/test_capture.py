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
        "request req-1: cpu on 1 node",
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


# ---- what is asked: wrong usage ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["cpu"], "which nodes? Say --node, --role, --tier or --all"),
        (["cpu", "--all", "--node", "a"], "--all stands for every node"),
        (["heap", "--all", "--seconds", "5"], "--seconds: heap is taken in an instant"),
        (["cpu", "--all", "--seconds", "500"], "at most 120 s, got 500 s"),
        (["cpu", "--all", "--gc"], "--gc is for heap"),
        (["cpu", "--all", "--seconds", "soon"], "'soon' is no time"),
        (["memory", "--all"], "invalid choice: 'memory'"),
    ],
)
def test_capture_refuses_wrong_usage_before_it_asks_the_proxy(fodc, proxy, words, complaint):
    ran = fodc("capture", *words)

    assert ran.code == 2
    assert complaint in ran.err
    assert proxy.asked == []


def test_capture_names_the_field_that_the_proxy_refuses(fodc, proxy, tmp_path):
    proxy.post_error = (
        400,
        {"reason": "BadRequest", "field": "execution.parallelism", "message": "must be 1 to 16"},
    )

    ran = fodc("capture", "cpu", "--all", "--parallelism", "99", "--output-dir", tmp_path)

    assert ran.code == 2
    assert ran.err == "fodc: the proxy refused: execution.parallelism: must be 1 to 16\n"


def test_capture_says_busy_when_the_proxy_is(fodc, proxy, tmp_path):
    proxy.post_error = (503, {"reason": "Busy", "message": "16 requests run already"})

    ran = fodc("capture", "cpu", "--all", "--output-dir", tmp_path)

    assert ran.code == 1
    assert "the proxy refused (Busy): 16 requests run already. As many captures run" in ran.err


def test_capture_refuses_a_directory_that_cannot_be_made(fodc, proxy, tmp_path):
    (tmp_path / "file").write_text("")

    ran = fodc("capture", "cpu", "--all", "--output-dir", tmp_path / "file" / "sub")

    assert ran.code == 2
    assert "--output-dir" in ran.err
    assert proxy.asked == []


def test_capture_no_wait_only_says_the_id(fodc, one_cpu, proxy, tmp_path):
    ran = fodc("capture", "cpu", "--all", "--no-wait")

    assert ran.out == "req-1\n"
    assert ran.code == 0
    assert proxy.asked == ["POST /diagnostics/requests"]


# ---- how it ends ------------------------------------------------------------------------------


def test_capture_is_partial_when_some_targets_fail(fodc, proxy, make, tmp_path):
    content = make.recorded("heap")
    proxy.artifacts["art-1"] = content
    busy = make.result("heap", "Failed", reason="ProfilerBusy", message="another profile runs")
    proxy.steps = [
        make.request(
            1,
            "PartiallySucceeded",
            make.target("data-0", "Succeeded", make.stored("heap", content, "art-1")),
            make.target("data-1", "Failed", busy),
            make.target("data-2", "Skipped", reason="Offline", message="no heartbeat for 40 s"),
            profiles=["heap"],
        )
    ]

    ran = fodc("capture", "heap", "--all", "--output-dir", tmp_path)

    assert ran.code == 5
    assert len(list(tmp_path.iterdir())) == 1
    assert "data-1 heap Failed: ProfilerBusy: another profile runs. Another profile of" in ran.err
    assert "data-2 Skipped: Offline: no heartbeat for 40 s. No heartbeat" in ran.err


def test_capture_fails_when_no_target_succeeds(fodc, proxy, make, tmp_path):
    proxy.steps = [
        make.request(
            1,
            "Failed",
            make.target("data-0", "Failed", reason="AgentGone", message="the stream ended"),
            reason="AllTargetsFailed",
        )
    ]

    ran = fodc("capture", "cpu", "--all", "--output-dir", tmp_path)

    assert ran.code == 1
    assert ran.out == ""
    assert list(tmp_path.iterdir()) == []


def test_capture_tells_the_reason_of_a_request_without_targets(fodc, proxy, make, tmp_path):
    proxy.steps = [make.request(1, "Rejected", reason="NoTargets", message="no node is named x")]

    ran = fodc("capture", "cpu", "--node", "x", "--output-dir", tmp_path)

    assert ran.code == 1
    assert "Rejected: NoTargets: no node is named x. No node matches; list the nodes" in ran.err


def test_capture_never_calls_an_empty_profile_a_success(fodc, proxy, make, tmp_path):
    content = make.recorded("block")
    proxy.artifacts["art-1"] = content
    empty = make.stored("block", content, "art-1", empty=True)
    proxy.steps = [
        make.request(1, "Succeeded", make.target("data-0", "Succeeded", empty), profiles=["block"])
    ]

    ran = fodc("capture", "block", "--all", "--output-dir", tmp_path)

    assert ran.code == 1
    assert "data-0 block is empty: EmptyProfile. Nothing was sampled" in ran.err


def test_capture_shows_an_unknown_reason_of_a_newer_proxy(fodc, proxy, make, tmp_path):
    odd = make.target("data-0", "Failed", reason="SolarFlare", message="come back later")
    proxy.steps = [make.request(1, "Failed", odd)]

    ran = fodc("capture", "cpu", "--all", "--output-dir", tmp_path)

    assert "data-0 Failed: SolarFlare: come back later" in ran.err


def test_capture_saves_several_profiles_and_a_trace_under_their_names(fodc, proxy, make, tmp_path):
    heap, trace = make.recorded("heap"), b"go 1.26 trace\0\0\0" + b"x" * 50
    proxy.artifacts = {"art-1": heap, "art-2": trace}
    results = (make.stored("heap", heap, "art-1"), make.stored("trace", trace, "art-2"))
    proxy.steps = [
        make.request(
            1, "Succeeded", make.target("n", "Succeeded", *results), profiles=["heap", "trace"]
        )
    ]

    ran = fodc("capture", "heap", "trace", "--node", "n", "--gc", "--output-dir", tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "n-heap-20261121T070639Z.pb.gz",
        "n-trace-20261121T070639Z.trace",
    ]
    assert proxy.bodies[0]["captures"] == [
        {"profile": "heap", "gc": True},
        {"profile": "trace", "duration_seconds": 5},
    ]
    assert ran.code == 0


def test_capture_writes_folded_stacks_beside_the_profile(fodc, one_cpu, tmp_path):
    fodc("capture", "cpu", "--all", "--folded", "--output-dir", tmp_path)

    stacks = (tmp_path / "data-0-cpu-20261121T070639Z.folded").read_text().splitlines()
    assert len(stacks) > 100
    assert all(line.rpartition(" ")[2].isdigit() for line in stacks)


# ---- downloads --------------------------------------------------------------------------------


def test_capture_resumes_a_truncated_download(fodc, proxy, one_cpu, tmp_path, monkeypatch):
    monkeypatch.setattr("fodc_client.downloads._PAUSE_S", 0.01)
    proxy.cut_after["art-1"] = [10_000, 5_000]

    ran = fodc("capture", "cpu", "--all", "--output-dir", tmp_path)

    assert ran.code == 0
    assert (tmp_path / "data-0-cpu-20261121T070639Z.pb.gz").read_bytes() == one_cpu
    assert proxy.asked.count("GET /artifacts/art-1") == 3
    assert "only 10000 of 24923 bytes arrived. Trying again." in ran.err


def test_capture_keeps_no_half_file_when_the_download_never_ends(
    fodc, proxy, one_cpu, tmp_path, monkeypatch
):
    monkeypatch.setattr("fodc_client.downloads._PAUSE_S", 0.01)
    proxy.cut_after["art-1"] = [100, 100, 100, 100]

    ran = fodc("capture", "cpu", "--all", "--output-dir", tmp_path)

    assert ran.code == 1
    assert "only 400 of 24923 bytes arrived" in ran.err
    assert list(tmp_path.iterdir()) == []


def test_capture_keeps_no_file_with_a_wrong_checksum(fodc, proxy, one_cpu, tmp_path):
    proxy.artifacts["art-1"] = one_cpu[:-1] + bytes([one_cpu[-1] ^ 1])

    ran = fodc("capture", "cpu", "--all", "--output-dir", tmp_path)

    assert ran.code == 1
    assert "artifact art-1: the checksum differs" in ran.err
    assert "fodc artifacts get art-1" in ran.err
    assert list(tmp_path.iterdir()) == []


def test_capture_keeps_no_file_with_another_size(fodc, proxy, one_cpu, tmp_path):
    proxy.artifacts["art-1"] = one_cpu + b"more"

    ran = fodc("capture", "cpu", "--all", "--output-dir", tmp_path)

    assert ran.code == 1
    assert "24927 bytes arrived, 24923 were announced" in ran.err
    assert list(tmp_path.iterdir()) == []


# ---- a proxy that goes and comes --------------------------------------------------------------


def test_capture_waits_for_a_proxy_that_goes_and_comes_back(fodc, proxy, one_cpu, make, tmp_path):
    proxy.steps.insert(2, make.gone(0.4))

    ran = fodc("capture", "cpu", "--all", "--output-dir", tmp_path)

    assert ran.code == 0
    assert "lost the proxy: " in ran.err
    assert "Waiting for it, at most 120 s." in ran.err
    assert "the proxy is back" in ran.err
    assert len(list(tmp_path.iterdir())) == 1


def test_capture_sends_a_creation_again_with_the_same_id_after_a_cut(
    fodc, proxy, one_cpu, make, tmp_path
):
    proxy.steps.insert(0, make.gone(0.1))

    ran = fodc("capture", "cpu", "--all", "--output-dir", tmp_path)

    assert ran.code == 0
    assert len(proxy.bodies) == 2
    assert proxy.bodies[0] == proxy.bodies[1]


def test_capture_gives_up_when_the_proxy_stays_away(fodc, proxy, make, tmp_path, monkeypatch):
    monkeypatch.setattr("fodc_client.following.PATIENCE_S", 0.5)
    proxy.steps = [
        make.request(1, "Running", make.target("data-0", "Running", make.result())),
        make.gone(2.0),
    ]

    ran = fodc("capture", "cpu", "--all", "--output-dir", tmp_path)

    assert ran.code == 3
    assert "Request req-1 may go on; see: fodc requests show req-1" in ran.err


def test_capture_says_so_when_the_proxy_forgot_the_request(fodc, proxy, make, tmp_path):
    proxy.steps = [
        make.request(1, "Running", make.target("data-0", "Running", make.result())),
        "forgotten",
    ]

    ran = fodc("capture", "cpu", "--all", "--output-dir", tmp_path)

    assert ran.code == 4
    assert "the proxy no longer knows request req-1" in ran.err
