# SPDX-License-Identifier: Apache-2.0
"""What the agent can be told, and what it says about values that make no sense (T-CMD)."""

import json
from pathlib import Path

import pytest

from fodc_agent.collecting import sources_of
from fodc_agent.dormant import DORMANT
from fodc_agent.scraping.client import HttpClient
from fodc_agent.settings import Attachment, help_text, load
from fodc_agent.sources.banyandb import MetricsSource
from fodc_protocol.errors import OptionError


def problem_of(*argv):
    with pytest.raises(OptionError) as caught:
        load(argv, {})
    return str(caught.value)


@pytest.mark.parametrize(
    ("ports", "urls"),
    [
        ((2121,), ("http://127.0.0.1:2121/metrics",)),
        ((9, 7), ("http://127.0.0.1:9/metrics", "http://127.0.0.1:7/metrics")),
    ],
)
def test_t_cmd_01_02_03_ports_become_pages_in_their_order(ports, urls):
    """The Go agent says localhost; ours says 127.0.0.1 on purpose, where a node binds."""
    told = ",".join(map(str, ports))
    settings = load([f"--poll-metrics-ports={told}"], {})
    made = sources_of(settings, HttpClient(), None, uptime_s=lambda: 0.0, counters=())
    assert tuple(one.source.url for one in made if isinstance(one.source, MetricsSource)) == urls


def test_t_cmd_04_the_defaults_are_valid():
    settings = load([], {})
    assert settings.poll_interval_s == 10.0
    assert settings.metrics_ports == (2121,)
    assert settings.proxy_endpoints == (("localhost", 17912),)  # W-02: where a proxy listens
    assert settings.pprof_ports == (6060,)
    assert settings.proxy_tls is None
    assert settings.dormant == ()


@pytest.mark.parametrize("percent", ["0", "-1", "101"])
def test_t_cmd_05_a_trigger_percent_out_of_range_is_rejected(percent):
    assert problem_of(f"--pressure-profiler-trigger-percent={percent}") == (
        f"pressure-profiler-trigger-percent must be between 1 and 100, got {percent}"
    )


def test_t_cmd_05_a_trigger_percent_does_not_matter_when_the_profiler_is_off():
    load(["--pressure-profiler-trigger-percent=0", "--pressure-profiler-enabled=false"], {})
    load(["--pressure-profiler-trigger-percent=75"], {})


def test_t_cmd_06_an_interval_of_zero_is_rejected():
    assert problem_of("--poll-metrics-interval=0s").startswith(
        "poll-metrics-interval must be greater than 0"
    )


def test_t_cmd_07_no_ports_are_rejected():
    assert problem_of("--poll-metrics-ports=").startswith("poll-metrics-ports cannot be empty")


def test_t_cmd_08_names_must_match_ports():
    assert problem_of("--poll-metrics-ports=1,2", "--container-names=a") == (
        "container-names count (1) must match poll-metrics-ports count (2)"
    )


@pytest.mark.parametrize("percent", ["101", "-1"])
@pytest.mark.parametrize(
    "flag",
    ["max-metrics-memory-usage-percentage", "max-fodc-diagnosis-memory-usage-percentage"],
)
def test_t_cmd_09_10_a_memory_percentage_out_of_range_is_rejected(flag, percent):
    assert problem_of(f"--{flag}={percent}").startswith(f"{flag} must be between 0 and 100")


GO_FLAGS = """
poll-metrics-interval=10s poll-metrics-ports=2121 container-names=data pod-name=p
max-metrics-memory-usage-percentage=10 prometheus-listen-addr=:9090 diagnosis-listen-addr=:9091
proxy-addr=localhost:17900 heartbeat-interval=10s reconnect-interval=1s
cluster-state-ports=17912,17914 cluster-state-poll-interval=30s lifecycle-port=18912
schema-registry-port=17912 lifecycle-report-dir=/tmp/r lifecycle-cache-ttl=10m crash-source-dir=/c
max-fodc-diagnosis-memory-usage-percentage=5 panic-diagnostics-enabled=true
panic-diagnostics-dir=crash panic-diagnostics-max-artifacts=10
max-diagnosis-memory-usage-percentage=50 ktm-enabled ktm-interval=10s pressure-profiler-enabled
pressure-profiler-trigger-percent=75 pressure-profiler-pprof-port=6061
pressure-profiler-cooldown=5m pressure-profiler-dir=/tmp/p pressure-profiler-max-artifacts=16
pressure-profiler-max-disk-bytes=536870912
"""


def test_every_flag_of_the_go_agent_is_accepted():
    argv = [f"--{flag}" for flag in GO_FLAGS.split()]
    settings = load(argv, {})
    assert settings.cluster_state_ports == (17912, 17914)
    assert settings.pprof_ports == (6061,)
    assert settings.counts_in_kernel
    assert "option=panic-diagnostics-enabled needs='crash records'" in settings.dormant
    assert len(settings.dormant) == 7
    assert (settings.pressure_percent, settings.pressure_cooldown_s) == (75, 300.0)


@pytest.mark.parametrize("name", [option.name for option in DORMANT])
def test_a24_a_flag_that_does_nothing_here_is_not_offered_and_a_start_with_it_says_so(name):
    settings = load([f"--{name}=1"], {})
    assert f"--{name}" not in help_text()
    assert [line for line in settings.lines if line.startswith(f"{name}=")] == []
    (told,) = settings.dormant
    assert told.startswith(f"option={name} needs='")


def test_the_environment_sets_what_no_flag_sets():
    environ = {"FODC_POLL_METRICS_INTERVAL": "5s", "FODC_POD_NAME": "a", "POD_NAME": "b"}
    settings = load(["--pod-name=c"], environ)
    assert (settings.poll_interval_s, settings.pod_name) == (5.0, "c")
    assert load([], environ).pod_name == "a"


def test_the_downward_api_is_read_where_nothing_else_was_said():
    environ = {"POD_NAME": "p", "POD_NAMESPACE": "ns", "POD_UID": "u", "NODE_NAME": "n"}
    settings = load([], environ)
    assert (settings.pod_name, settings.pod_namespace) == ("p", "ns")
    assert (settings.pod_uid, settings.kubernetes_node) == ("u", "n")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("agent.yaml", "poll-metrics-interval: 7s\npoll-metrics-ports: [1, 2]\n"),
        ("agent.json", json.dumps({"poll_metrics_interval": "7s", "poll-metrics-ports": [1, 2]})),
    ],
)
def test_a_file_sets_what_neither_flag_nor_environment_set(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    settings = load([f"--config={path}"], {})
    assert (settings.poll_interval_s, settings.metrics_ports) == (7.0, (1, 2))
    assert load(["--config", str(path)], {"FODC_POLL_METRICS_INTERVAL": "1s"}).poll_interval_s == 1


@pytest.mark.parametrize(
    ("name", "text"), [("agent.json", b'{"pod-name":"x"}'), ("agent.yaml", b"pod-name: x\n")]
)
def test_a_file_with_a_byte_order_mark_is_read(tmp_path, name, text):
    """A23: a JSON file that an editor of Windows wrote was refused."""
    path = tmp_path / name
    path.write_bytes(b"\xef\xbb\xbf" + text)
    assert load([f"--config={path}"], {}).pod_name == "x"


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "poll-metrics-intervall: 1s"])
def test_a_file_that_makes_no_sense_is_named(tmp_path, text):
    path = tmp_path / "agent.yaml"
    path.write_text(text)
    assert "file" in problem_of(f"--config={path}") or str(path) in problem_of(f"--config={path}")


def test_a_missing_file_is_named(tmp_path):
    assert problem_of(f"--config={tmp_path / 'none.yaml'}").startswith("config ")


def test_all_problems_are_told_at_once_one_a_line():
    lines = problem_of("--poll-metrics-interval=x", "--contract=smoke", "--nonsense=1").splitlines()
    assert len(lines) == 3


@pytest.mark.parametrize("text", ["proxy", "proxy:", ":17912", "proxy:0", "proxy:99999", "a:1,b"])
def test_a_proxy_address_without_host_and_port_is_rejected(text):
    assert problem_of(f"--proxy-addr={text}").startswith("proxy-addr must be host:port")


@pytest.mark.parametrize("text", ["dns:///proxy:17912", "proxy:17912"])
def test_a_proxy_address_of_the_resolver_is_understood(text):
    """A23: it was taken for a host name and failed for ever."""
    assert load([f"--proxy-addr={text}"], {}).proxy_endpoints == (("proxy", 17912),)


@pytest.mark.parametrize("text", ["http://proxy:17912", "dns://1.1.1.1/proxy:17912"])
def test_a_url_as_proxy_address_is_refused_at_the_start(text):
    """A23: it was taken for a host name and failed for ever."""
    assert "got the URL" in problem_of(f"--proxy-addr={text}")


def test_t_srv_02_an_empty_listen_address_is_refused():
    problem = problem_of("--prometheus-listen-addr=")
    assert problem.startswith("prometheus-listen-addr cannot be empty")


def test_an_empty_proxy_address_runs_without_a_proxy():
    assert load(["--proxy-addr="], {}).proxy_endpoints == ()


def test_several_proxies_and_an_ipv6_address_are_understood():
    settings = load(["--proxy-addr=a:1,[::1]:2"], {})
    assert settings.proxy_endpoints == (("a", 1), ("::1", 2))


@pytest.mark.parametrize(
    ("text", "role"),
    [
        ("", ""),
        ("data", "ROLE_DATA"),
        ("Standalone", "ROLE_DATA"),
        ("ROLE_LIAISON", "ROLE_LIAISON"),
    ],
)
def test_roles_are_understood_as_people_write_them(text, role):
    assert load([f"--node-role={text}"], {}).node_role == role


def test_one_half_of_a_client_certificate_is_rejected():
    assert problem_of("--proxy-tls-cert=/c") == (
        "proxy-tls-cert and proxy-tls-key must be given together"
    )


def test_a_ca_alone_turns_tls_on():
    tls = load(["--proxy-tls-ca=/ca.pem"], {}).proxy_tls
    assert (tls.ca_file, tls.cert_file) == ("/ca.pem", "")


def test_help_names_every_option_with_its_variable():
    assert "--window-budget" in help_text()
    assert "[FODC_WINDOW_BUDGET]" in help_text()


def test_an_agent_that_was_injected_knows_its_place():
    argv = [
        "--node-labels=type=hot,zone=a",
        "--node-container=data",
        "--flavor=process",
        "--proxy-token-file=/var/run/secrets/kubernetes.io/serviceaccount/token",
    ]
    settings = load(argv, {"POD_UID": "u", "POD_IP": "10.0.0.7"})
    assert settings.node_labels == {"type": "hot", "zone": "a"}
    assert (settings.node_container, settings.flavor) == ("data", "process")
    assert (settings.attachment, settings.pod_ip) == (Attachment.SIDECAR, "10.0.0.7")
    assert str(settings.proxy_token_file) == "/var/run/secrets/kubernetes.io/serviceaccount/token"


@pytest.mark.parametrize(
    ("argv", "environ", "attachment"),
    [
        ([], {}, Attachment.STANDALONE),
        (["--pod-uid=u"], {}, Attachment.SIDECAR),
        (["--attachment=standalone"], {"POD_UID": "u"}, Attachment.STANDALONE),
        (["--attachment=remote", "--targets-file=/t.json"], {"POD_UID": "u"}, Attachment.REMOTE),
    ],
)
def test_a_pod_uid_tells_that_the_agent_is_a_sidecar(argv, environ, attachment):
    assert load(argv, environ).attachment == attachment


@pytest.mark.parametrize(
    ("argument", "problem"),
    [
        ("--attachment=near", "attachment must be one of sidecar, remote, standalone or empty"),
        ("--flavor=root", "flavor must be one of basic, process, ebpf or empty, got 'root'"),
        ("--node-labels=hot", "node-labels must be name=value, several separated by commas"),
        ("--node-labels==hot", "node-labels must be name=value, several separated by commas"),
        ("--targets-file=/t", "targets-file and attachment=remote must be given together"),
        ("--attachment=remote", "targets-file and attachment=remote must be given together"),
    ],
)
def test_what_an_injected_agent_cannot_be_told(argument, problem):
    assert problem_of(argument).startswith(problem)


@pytest.mark.parametrize(
    ("argv", "percent", "cooldown_s"),
    [
        ([], 80, 300.0),
        (["--pressure-percent=0"], 0, 300.0),
        (["--pressure-profiler-enabled=false"], 0, 300.0),
        (["--pressure-profiler-trigger-percent=60"], 60, 300.0),
        (["--pressure-profiler-trigger-percent=60", "--pressure-percent=90"], 90, 300.0),
        (["--pressure-profiler-cooldown=1m"], 80, 60.0),
    ],
)
def test_short_memory_is_told_by_our_options_or_by_those_of_the_go_agent(argv, percent, cooldown_s):
    settings = load(argv, {})
    assert (settings.pressure_percent, settings.pressure_cooldown_s) == (percent, cooldown_s)


@pytest.mark.parametrize(
    ("argv", "folder"),
    [
        (["--pod-name=data-0"], "/tmp/fodc-captures-data-0-2121"),
        (["--poll-metrics-ports=2121,7"], "/tmp/fodc-captures-2121-7"),
        (["--pod-name=../x"], "/tmp/fodc-captures-.._x-2121"),
        (["--recorder-dir=/var/lib/fodc-agent/window"], "/var/lib/fodc-agent/window-captures"),
        (["--recorder-dir=/r", "--capture-dir=/c"], "/c"),
    ],
)
def test_two_agents_of_one_machine_have_folders_of_their_own(argv, folder):
    """The existing default, one folder for all, mixed up what waits for two proxies."""
    assert load(argv, {}).capture_dir == Path(folder)
