# SPDX-License-Identifier: Apache-2.0
"""Flags, variables and file of the operator; those of the proxy hold too."""

from collections.abc import Mapping, Sequence

import pytest

from fodc_operator import settings as own
from fodc_operator.mirror.budget import Rules
from fodc_operator.mirror.leaving import Patience
from fodc_protocol.errors import OptionError
from fodc_proxy import settings as proxy


def read(*argv: str, environ: Mapping[str, str] | None = None, **file: object) -> own.Settings:
    return own.settings_of(own.resolved(argv, environ or {}, file))


def problems(*argv: str) -> Sequence[str]:
    with pytest.raises(OptionError) as caught:
        read(*argv)
    return caught.value.message.splitlines()


def test_the_defaults_are_those_that_the_manifests_count_on() -> None:
    found = read()

    assert (found.kubeconfig, found.namespaces, found.own_namespace) == ("", (), "default")
    assert (found.lease.name, found.lease.duration_s) == ("fodc-operator", 10.0)
    assert (found.lease.renew_s, found.lease.retry_s) == (7.0, 2.0)
    assert found.leader_label == "fodc.banyandb.dev/leader"
    assert found.writes == Rules(refresh_s=60.0, writes_per_s=20.0, burst=100.0)
    assert found.patience == Patience(10_000, 90_000, 300_000, 86_400_000)
    assert found.proxy == proxy.settings_of(proxy.resolved((), {}))


def test_every_setting_of_the_proxy_is_one_of_the_operator() -> None:
    assert {one.name for one in proxy.OPTIONS} <= {one.name for one in own.OPTIONS}
    assert len({one.name for one in own.OPTIONS}) == len(own.OPTIONS)
    assert read("--max-agents=7", "--data-dir=d").proxy.limits.max_agents == 7


def test_pod_name_and_namespace_come_from_the_pod_unless_said_otherwise() -> None:
    pod = {"POD_NAME": "op-0", "POD_NAMESPACE": "fodc"}
    found = read(environ=pod)
    said = read(environ={**pod, "FODC_OPERATOR_POD_NAME": "op-1"})

    assert (found.pod_name, found.own_namespace, found.lease.namespace) == ("op-0", "fodc", "fodc")
    assert found.lease.identity.startswith("op-0_")
    assert said.pod_name == "op-1"
    assert read("--pod-name=op-2", environ=pod).pod_name == "op-2"


def test_a_restarted_container_is_another_candidate() -> None:
    pod = {"POD_NAME": "op-0"}

    assert read(environ=pod).lease.identity != read(environ=pod).lease.identity


def test_variables_and_file_are_read_under_the_operators_names() -> None:
    environ = {"FODC_OPERATOR_RETENTION": "1h", "FODC_PROXY_MAX_AGENTS": "3"}
    found = read(environ=environ, namespace=["a", "b"], status_refresh="2m")

    assert found.patience.retention_ms == 3_600_000
    assert found.namespaces == ("a", "b")
    assert found.writes.refresh_s == 120.0
    assert found.proxy.limits.max_agents == 1000


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("--startup-grace=20s", "--startup-grace must be at least 3 heartbeats (30s)"),
        (
            "--lease-duration=7s",
            "--lease-duration must be greater than --lease-renew, and that greater than 1.2 times",
        ),
        ("--lease-retry=100ms", "--lease-retry must be at least 1s"),
        ("--status-writes-per-s=0", "status-writes-per-s"),
        ("--retention=-1h", "retention"),
        ("--lease-name=", "lease-name"),
        ("--kubconfig=x", "unknown flag --kubconfig; did you mean --kubeconfig?"),
    ],
)
def test_a_wrong_setting_is_named(argument: str, words: str) -> None:
    (problem,) = problems(argument)

    assert problem.startswith(words)


def test_help_tells_every_option_with_its_variable() -> None:
    text = own.help_text()

    for option in own.OPTIONS:
        assert f"--{option.name}" in text
        assert f"FODC_OPERATOR_{option.name.upper().replace('-', '_')}" in text


def test_people_are_shown_the_certificate_that_agents_are_whoever_keeps_it() -> None:
    found = own.settings_of(own.resolved(["--http-tls"], {}))
    assert found.is_http_sealed
    with pytest.raises(OptionError, match="--http-tls needs the certificate that the leader keeps"):
        own.settings_of(own.resolved(["--http-tls", "--webhook-config-name="], {}))
    files = ["--grpc-tls-cert-file=a", "--grpc-tls-key-file=b"]
    assert read("--http-tls", "--webhook-config-name=", *files).is_http_sealed
