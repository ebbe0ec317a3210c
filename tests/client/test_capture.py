# SPDX-License-Identifier: Apache-2.0
"""`fodc capture`: asking, watching, saving, and every way in which it can go wrong."""

import json
import re

import pytest

from fodc_proxy.fleet.limits import Limits
from tests.client.profiles import cpu_profile
from tests.client.stage import Fails, Gives, Holds


@pytest.fixture
def told():
    """An agent that went away is offline at once."""
    return {"limits": Limits(heartbeat_timeout_ms=10_000)}


@pytest.fixture
def one_cpu(stage, recorded):
    """A node that gives a CPU profile; returns its bytes."""
    content = recorded("cpu")
    stage.agent("data-0", plans={"cpu": Gives(content)})
    return content


def saved(folder):
    return sorted(re.sub(r"-\d{8}T\d{6}Z", "", path.name) for path in folder.iterdir())


def asked(stage):
    """The only request that the proxy has."""
    (request,) = stage.proxy.diagnostics.engine.select()
    return request


def test_capture_saves_the_profile_and_shows_what_is_hot(fodc, one_cpu, tmp_path):
    ran = fodc("capture", "cpu", "--node", "data-0", "--seconds", "5", "--output-dir", tmp_path)

    (path,) = tmp_path.iterdir()
    assert re.fullmatch(r"data-0-cpu-\d{8}T\d{6}Z\.pb\.gz", path.name)
    assert path.read_bytes() == one_cpu
    assert str(path) in ran.out
    assert "github.com/klauspost/compress/s2.s2Decode" in ran.out
    assert ran.code == 0


def test_capture_tells_the_whole_of_which_its_shares_are(fodc, one_cpu, tmp_path):
    """C9: shares stood there without what they are shares of."""
    ran = fodc("capture", "cpu", "--all", "--output-dir", tmp_path)

    whole = "3.05 s in 305 samples over 5s, 61.0% of a core; 51.5% of it shown"
    assert f"cpu of data-0: hottest by cpu; {whole}\n" in ran.out


def test_capture_says_each_change_as_a_line_when_piped(fodc, one_cpu, tmp_path):
    ran = fodc("capture", "cpu", "--node", "data-0", "--seconds", "5", "--output-dir", tmp_path)

    first, *_, last = ran.err.splitlines()
    assert re.fullmatch(r"request cli-[0-9a-f]{12}: cpu on 1 node", first)
    assert last == "data-0 cpu Succeeded 24.3 KiB in 5s"


def test_capture_asks_for_what_was_said(fodc, stage, one_cpu, tmp_path):
    fodc(
        "capture", "CPU", "--role", "ROLE_DATA", "--tier", "hot", "--seconds", "7s",
        "--parallelism", "2", "--purpose", "slow", "--timeout", "2m", "--output-dir", tmp_path,
    )  # fmt: skip

    spec = asked(stage).spec
    assert (spec.selector.roles, spec.selector.tiers) == (("data",), ("hot",))
    assert [(str(c.profile), c.duration_s) for c in spec.captures] == [("cpu", 7)]
    assert (spec.execution.parallelism, spec.execution.active_deadline_s) == (2, 120)
    assert spec.purpose == "slow"


def test_capture_json_holds_the_request_and_the_files(fodc, one_cpu, tmp_path):
    ran = fodc("capture", "cpu", "--all", "--output-dir", tmp_path, "-o", "json")

    document = json.loads(ran.out)
    assert document["request"]["phase"] == "Succeeded"
    assert [file["path"] for file in document["files"]] == [str(*tmp_path.iterdir())]


def test_capture_no_wait_only_says_the_id(fodc, stage, one_cpu):
    ran = fodc("capture", "cpu", "--all", "--no-wait")

    assert ran.out == f"{asked(stage).id}\n"
    assert ran.code == 0


# ---- which nodes ------------------------------------------------------------------------------


@pytest.fixture
def mixed(stage, recorded):
    plans = {"heap": Gives(recorded("heap"))}
    stage.agent("data-hot-0", tier="hot", plans=plans)
    stage.agent("data-hot-1", tier="hot", plans=plans)
    stage.agent("data-warm-0", tier="warm", plans=plans)
    stage.agent("liaison-0", "ROLE_LIAISON", tier="", plans=plans)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--role data", "data-hot-0 data-hot-1 data-warm-0"),
        ("--role ROLE_LIAISON", "liaison-0"),
        ("--role Hot", "data-hot-0 data-hot-1"),
        ("--role datanode-warm", "data-warm-0"),
        ("--role datanode-hot,liaison", "data-hot-0 data-hot-1 liaison-0"),
        ("--role datanode-hot --role liaison", "data-hot-0 data-hot-1 liaison-0"),
        ("--tier HOT,warm", "data-hot-0 data-hot-1 data-warm-0"),
        ("--role data --tier warm", "data-warm-0"),
        ("--role data-hot,data-warm --tier warm", "data-warm-0"),
        ("--role data --node data-hot-1", "data-hot-1"),
        ("--node data-hot-0,liaison-0", "data-hot-0 liaison-0"),
        ("--node data-hot-0 --node liaison-0", "data-hot-0 liaison-0"),
        ("--all", "data-hot-0 data-hot-1 data-warm-0 liaison-0"),
    ],
)
def test_capture_means_the_nodes_that_were_said(fodc, stage, mixed, words, expected):
    """C3: role, tier or both, in any case, as everywhere else."""
    ran = fodc("capture", "heap", *words.split(), "--no-wait")

    assert ran.code == 0
    assert [target.node_id for target in asked(stage).targets] == expected.split()


def test_capture_takes_profiles_behind_the_nodes(fodc, stage, mixed):
    """C2: `capture --node X heap` asked for a PROFILE."""
    ran = fodc("capture", "--node", "data-hot-0", "heap", "--no-wait")

    assert ran.code == 0
    assert [target.node_id for target in asked(stage).targets] == ["data-hot-0"]


def test_capture_of_an_unknown_node_is_not_found_and_asks_for_nothing(fodc, stage, mixed):
    """C3: it exited with 1, after it had made a request."""
    ran = fodc("capture", "heap", "--node", "data-hot-0,liason-0")

    assert ran.code == 4
    assert ran.err == "fodc: no such node: liason-0. Did you mean liaison-0?\n"
    assert stage.proxy.diagnostics.engine.select() == ()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--role", "nope"], 2, "--role must be a role (data, liaison, meta), a tier"),
        (["--tier", "icy"], 2, "--tier icy: no such tier; there are: hot, warm"),
        (["--role", "meta"], 4, "no node is meant by --role meta; there are: data-hot, data-warm"),
        (["--tier", "cold"], 4, "no node is meant by --tier cold"),
        (["--node", "liaison-0", "--role", "data"], 4, "no node is meant by --node liaison-0"),
    ],
)
def test_capture_of_no_node_says_what_there_is(fodc, mixed, words, code, says):
    ran = fodc("capture", "heap", *words)

    assert ran.code == code
    assert ran.err.startswith(f"fodc: {says}")


def test_capture_of_an_empty_fleet_is_not_found(fodc, stage):
    assert fodc("capture", "heap", "--all").code == 4


def test_capture_names_an_option_for_nodes_that_are_away(fodc, stage, one_cpu, tmp_path):
    """C9: `include_offline` was advised, a word that no flag had."""
    stage.leave(stage.agent("data-1"))

    ran = fodc("capture", "cpu", "--all", "--output-dir", tmp_path)

    assert ran.code == 5
    assert "--include-offline would wait for it" in ran.err
    assert "include_offline" not in ran.err


def test_capture_waits_for_nodes_that_are_away_when_asked(fodc, stage, one_cpu):
    stage.leave(stage.agent("data-1"))

    fodc("capture", "cpu", "--all", "--include-offline", "--no-wait")

    assert {str(target.phase) for target in asked(stage).targets if target.node_id == "data-1"} == {
        "Pending"
    }


# ---- kinds that only a node knows -------------------------------------------------------------


@pytest.fixture
def newer(stage, recorded):
    """A node of a release of Go that has one kind more."""
    offered = [("cpu", "Supported", "", ""), ("goroutineleak", "Supported", "", "")]
    plans = {"goroutineleak": Gives(recorded("goroutine"))}
    return stage.agent("newer-0", plans=plans, capabilities=offered)


def test_a_kind_that_only_the_node_knows_is_captured_like_the_others(fodc, newer, tmp_path):
    ran = fodc("capture", "goroutineleak", "--node", "newer-0", "--output-dir", tmp_path)

    assert (ran.code, saved(tmp_path)) == (0, ["newer-0-goroutineleak.pb.gz"])


@pytest.mark.parametrize(
    ("word", "complaint"),
    [
        ("cpuu", "PROFILE 'cpuu' is unknown. Did you mean cpu?"),
        ("goroutineleek", "PROFILE 'goroutineleek' is unknown. Did you mean goroutineleak or"),
        ("memory", "PROFILE 'memory' is unknown. There are: cpu, heap, allocs,"),
    ],
)
def test_a_kind_that_no_node_offers_is_refused_before_anything_is_asked_of_one(
    fodc, stage, newer, word, complaint
):
    ran = fodc("capture", word, "--all")

    assert (ran.code, complaint in ran.err) == (2, True), ran.err
    assert list(stage.proxy.diagnostics.engine.select()) == []


# ---- wrong usage ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["cpu"], "which nodes? Say --node, --role, --tier or --all"),
        (["cpu", "--all", "--node", "a"], "--all stands for every node"),
        (["heap", "--all", "--seconds", "5"], "--seconds: heap is taken in an instant"),
        (["cpu", "--all", "--seconds", "500"], "--seconds must be 1 to 120 for cpu, got 500"),
        (["trace", "--all", "--seconds", "31"], "--seconds must be 1 to 30 for trace, got 31"),
        (["cpu", "--all", "--gc"], "--gc is for heap"),
        (["cpu", "--all", "--seconds", "soon"], "'soon' is no time"),
        (["cpu?", "--all"], "PROFILE 'cpu?' is unknown. Did you mean cpu?"),
        (["MEMORY", "--all"], "PROFILE 'MEMORY' is unknown. There are: cpu, heap, allocs,"),
        (["cpu", "--node", "a", "heap"], "nothing takes 'heap' here"),
        (["cpu", "--node", "a,,b"], "'a,,b' is no list such as a,b"),
    ],
)
def test_capture_refuses_wrong_usage_before_it_asks_the_proxy(fodc_alone, words, complaint):
    """C2: enum reprs, and the API's words instead of the options'."""
    ran = fodc_alone("capture", *words)

    assert ran.code == 2
    assert complaint in ran.err
    assert "captures[" not in ran.err
    assert "<Profile" not in ran.err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--parallelism", "99"], "--parallelism must be a whole number from 1 to 16, got 99"),
        (["--purpose", "x" * 300], "--purpose must be a text of at most 256 characters"),
        (["--timeout", "3h"], "--timeout must be a whole number from 1 to 7200, got 10800"),
        (["--timeout", "5s"], "--timeout is shorter than the cpu capture of 30 s"),
    ],
)
def test_capture_says_by_its_own_options_what_the_api_refuses(fodc, one_cpu, words, complaint):
    """C2: `execution.parallelism` is no word of the command line."""
    ran = fodc("capture", "cpu", "--all", *words)

    assert ran.code == 2
    assert ran.err.startswith(f"fodc: {complaint}")


def test_capture_names_the_option_of_a_field_that_the_proxy_refuses(fodc, relay, one_cpu):
    error = {"reason": "BadRequest", "field": "execution.parallelism", "message": "is too much"}
    relay.instead["/diagnostics/requests"] = (400, json.dumps({"error": error}).encode())

    ran = fodc("capture", "cpu", "--all")

    assert (ran.code, ran.err) == (2, "fodc: --parallelism: is too much\n")


def test_capture_says_busy_when_the_proxy_is(fodc, relay, one_cpu):
    error = {"reason": "Busy", "message": "256 requests are open already"}
    relay.instead["/diagnostics/requests"] = (503, json.dumps({"error": error}).encode())

    ran = fodc("capture", "cpu", "--all")

    assert ran.code == 1
    assert "the proxy refused (Busy): 256 requests are open already. As many captures run" in (
        ran.err
    )


def test_capture_refuses_a_directory_that_cannot_be_made(fodc_alone, tmp_path):
    (tmp_path / "file").write_text("")

    ran = fodc_alone("capture", "cpu", "--all", "--output-dir", tmp_path / "file" / "sub")

    assert ran.code == 2
    assert "--output-dir" in ran.err


# ---- how it ends ------------------------------------------------------------------------------


def test_capture_is_partial_when_some_targets_fail(fodc, stage, recorded, tmp_path):
    stage.agent("data-0", plans={"heap": Gives(recorded("heap"))})
    stage.agent("data-1", plans={"heap": Fails("NodeError", "HTTP 500")})
    stage.leave(stage.agent("data-2"))

    ran = fodc("capture", "heap", "--all", "--output-dir", tmp_path)

    assert ran.code == 5
    assert len(list(tmp_path.iterdir())) == 1
    assert "fodc: data-1 heap Failed: NodeError: HTTP 500\n  Read the node's answer" in ran.err
    assert "fodc: data-2 heap Skipped: Offline: no heartbeat from its agent" in ran.err


def test_capture_says_once_what_nodes_have_in_common(fodc, stage, tmp_path):
    """C4: each node repeated the sentence and its advice, after the line of progress had too."""
    off = [("block", "Disabled", "RateZero", "its sampling rate is zero")]
    for number in range(3):
        stage.agent(f"data-{number}", capabilities=off)

    ran = fodc("capture", "block", "--all", "--output-dir", tmp_path)

    assert ran.code == 1
    assert ran.err.count("sampling rate is zero") == 1
    assert ran.err.count("switched off") == 1
    assert "fodc: data-0, data-1, data-2 block Skipped: Disabled: its sampling rate" in ran.err
    assert "the message names it" not in ran.err


def test_capture_fails_when_no_target_succeeds(fodc, stage, tmp_path):
    stage.agent("data-0", plans={"cpu": Fails("NodeError", "HTTP 500")})

    ran = fodc("capture", "cpu", "--all", "--output-dir", tmp_path)

    assert ran.code == 1
    assert ran.out == ""
    assert list(tmp_path.iterdir()) == []


def test_capture_never_calls_an_empty_profile_a_success(fodc, stage, recorded, tmp_path):
    stage.agent("data-0", plans={"block": Gives(recorded("block"), samples=0)})

    ran = fodc("capture", "block", "--all", "--seconds", "1", "--output-dir", tmp_path)

    assert ran.code == 1
    assert "data-0 block Failed: EmptyProfile" in ran.err


def test_capture_shows_an_unknown_reason_of_a_newer_agent(fodc, stage, tmp_path):
    stage.agent("data-0", plans={"cpu": Fails("SolarFlare", "come back later")})

    ran = fodc("capture", "cpu", "--all", "--output-dir", tmp_path)

    assert "data-0 cpu Failed: SolarFlare: come back later" in ran.err


def test_capture_saves_several_profiles_and_a_trace_under_their_names(
    fodc, stage, recorded, tmp_path
):
    trace = b"go 1.26 trace\0\0\0" + b"x" * 50
    plans = {"heap": Gives(recorded("heap")), "trace": Gives(trace)}
    agent = stage.agent("data-0", plans=plans)

    ran = fodc("capture", "heap", "trace", "--all", "--gc", "--output-dir", tmp_path)

    assert ran.code == 0
    assert saved(tmp_path) == ["data-0-heap.pb.gz", "data-0-trace.trace"]
    assert [(c.profile, c.gc, c.duration_ms) for c in agent.commands] == [
        ("heap", True, 0),
        ("trace", False, 5000),
    ]


def test_capture_tells_the_warnings_of_a_profile(fodc, stage, recorded, tmp_path):
    odd = Gives(recorded("cpu"), warnings=("the clock jumped",))
    stage.agent("data-0", plans={"cpu": odd})

    ran = fodc("capture", "cpu", "--all", "--output-dir", tmp_path)

    assert ran.code == 0
    assert "data-0 cpu: the clock jumped" in ran.err


def test_capture_of_goroutines_tells_who_waits_and_in_what(fodc, stage, recorded, tmp_path):
    """C9: the table was 98 % `runtime.gopark`."""
    stage.agent("data-0", plans={"goroutine": Gives(recorded("goroutine"))})

    ran = fodc("capture", "goroutine", "--all", "--output-dir", tmp_path)

    table = ran.out.partition("where they wait;")[2].splitlines()
    assert table[1].split() == ["COUNT", "SHARE", "FUNCTION", "WAITS", "IN"]
    assert all(not line.split()[2].startswith("runtime.gopark") for line in table[2:])


def test_capture_says_once_which_profiles_have_few_samples(fodc, stage, tmp_path):
    """C9: single samples were ranked without a word."""
    for number in range(2):
        stage.agent(f"data-{number}", plans={"cpu": Gives(cpu_profile(samples=12, seconds=5))})

    ran = fodc("capture", "cpu", "--all", "--output-dir", tmp_path)

    assert ran.code == 0
    assert ran.err.splitlines()[-1] == (
        "few samples: cpu of data-0 (12), cpu of data-1 (12); a row of one or two is chance, "
        "capture longer or under more load"
    )


def test_capture_writes_folded_stacks_beside_the_profile(fodc, one_cpu, tmp_path):
    fodc("capture", "cpu", "--all", "--folded", "--output-dir", tmp_path)

    (path,) = tmp_path.glob("*.folded")
    stacks = path.read_text().splitlines()
    assert len(stacks) > 100
    assert all(line.rpartition(" ")[2].isdigit() for line in stacks)


# ---- downloads --------------------------------------------------------------------------------


def test_capture_resumes_a_truncated_download(fodc, relay, one_cpu, tmp_path, monkeypatch):
    monkeypatch.setattr("fodc_client.downloads._PAUSE_S", 0.01)
    relay.cuts = [10_000, 5_000]

    ran = fodc("capture", "cpu", "--all", "--output-dir", tmp_path)

    assert ran.code == 0
    (path,) = tmp_path.iterdir()
    assert path.read_bytes() == one_cpu
    assert sum(each.startswith("GET /artifacts/art-") for each in relay.asked) == 3
    assert "only 10000 of 24923 bytes arrived. Trying again." in ran.err


def test_capture_keeps_no_half_file_when_the_download_never_ends(
    fodc, relay, one_cpu, tmp_path, monkeypatch
):
    monkeypatch.setattr("fodc_client.downloads._PAUSE_S", 0.01)
    relay.cuts = [100, 100, 100, 100]

    ran = fodc("capture", "cpu", "--all", "--output-dir", tmp_path)

    assert ran.code == 1
    assert "only 400 of 24923 bytes arrived" in ran.err
    assert list(tmp_path.iterdir()) == []


def only_downloads(change):
    """Alter bytes of artifacts and nothing else."""
    return lambda path, data: change(data) if path.startswith("/artifacts/art-") else data


def test_capture_keeps_no_file_with_a_wrong_checksum(fodc, relay, one_cpu, tmp_path):
    relay.altered = only_downloads(lambda data: data[:-1] + bytes([data[-1] ^ 1]))

    ran = fodc("capture", "cpu", "--all", "--output-dir", tmp_path)

    assert ran.code == 1
    assert re.search(r"artifact (art-\w+): the checksum differs .* fodc artifacts get \1", ran.err)
    assert list(tmp_path.iterdir()) == []


def test_capture_keeps_no_file_with_another_size(fodc, relay, one_cpu, tmp_path):
    relay.altered = only_downloads(lambda data: data + b"more")

    ran = fodc("capture", "cpu", "--all", "--output-dir", tmp_path)

    assert ran.code == 1
    assert "24927 bytes arrived, 24923 were announced" in ran.err
    assert list(tmp_path.iterdir()) == []


# ---- a proxy that goes and comes --------------------------------------------------------------


def test_capture_waits_for_a_proxy_that_goes_and_comes_back(fodc, relay, stage, recorded, tmp_path):
    stage.agent("data-0", plans={"cpu": Gives(recorded("cpu"))})
    relay.vanish_at = "after_revision"

    ran = fodc("capture", "cpu", "--all", "--output-dir", tmp_path)

    assert ran.code == 0
    assert "lost the proxy: " in ran.err
    assert "Waiting for it, at most 120 s." in ran.err
    assert "the proxy is back" in ran.err
    assert len(list(tmp_path.iterdir())) == 1


def test_capture_sends_a_creation_again_with_the_same_id_after_a_cut(
    fodc, relay, one_cpu, tmp_path
):
    relay.vanish_at = "POST"

    ran = fodc("capture", "cpu", "--all", "--output-dir", tmp_path)

    assert ran.code == 0
    assert len(relay.bodies) == 2
    assert relay.bodies[0] == relay.bodies[1]


def test_capture_gives_up_when_the_proxy_stays_away(fodc, relay, stage, tmp_path, monkeypatch):
    monkeypatch.setattr("fodc_client.following.PATIENCE_S", 0.5)
    stage.agent("data-0", plans={"cpu": Holds()})
    relay.vanish_at, relay.vanish_s = "after_revision", 30.0

    ran = fodc("capture", "cpu", "--all", "--output-dir", tmp_path)

    assert ran.code == 3
    assert re.search(r"Request (cli-\w+) may go on; see: fodc requests show \1", ran.err)


def test_capture_says_so_when_the_proxy_forgot_the_request(fodc, relay, stage, tmp_path):
    stage.agent("data-0", plans={"cpu": Holds()})
    error = {"reason": "NotFound", "message": "request x does not exist"}
    relay.instead["after_revision"] = (404, json.dumps({"error": error}).encode())

    ran = fodc("capture", "cpu", "--all", "--output-dir", tmp_path)

    assert ran.code == 4
    assert "the proxy no longer knows request cli-" in ran.err
