# SPDX-License-Identifier: Apache-2.0
"""What nodes were told and where nodes of one role differ."""

from pathlib import Path

import pytest

from fodc_protocol.configuration import (
    ConfigEntry,
    Drift,
    NodeConfiguration,
    Source,
    configuration_of,
    drift,
    is_identity,
)

CMDLINE = Path(__file__).parents[1] / "data" / "pprof" / "cmdline.body"


def entries(**values):
    return [
        ConfigEntry(name.replace("_", "-"), value, Source.FLAG) for name, value in values.items()
    ]


def test_recorded_command_line_is_read():
    configuration = configuration_of(CMDLINE.read_bytes().decode().split("\0"))
    values = {entry.name: entry.value for entry in configuration.entries}
    assert configuration.command == ("standalone",)
    assert len(values) == 20
    assert values["node-labels"] == "type=hot,zone=lab"
    assert values["grpc-port"] == "17912"


def test_flag_wins_over_environment_over_file():
    configuration = configuration_of(
        ["banyand", "data", "--a=flag"],
        {"BYDB_A": "env", "BYDB_B_C": "env", "HOME": "/"},
        {"a": "file", "b-c": "file", "d": "file"},
    )
    assert configuration == NodeConfiguration(
        ("data",),
        (
            ConfigEntry("a", "flag", Source.FLAG),
            ConfigEntry("b-c", "env", Source.ENVIRONMENT),
            ConfigEntry("d", "file", Source.FILE),
        ),
    )


def test_flags_in_every_form():
    configuration = configuration_of(
        ["x", "--on", "--list=a", "--list", "b", "--off=false", "--empty=", "-s", "v"]
    )
    assert {entry.name: entry.value for entry in configuration.entries} == {
        "on": "true",
        "list": "a,b",
        "off": "false",
        "empty": "",
        "s": "v",
    }


def test_secrets_are_masked_and_marked():
    configuration = configuration_of(["x", "--db-password=p"], {"BYDB_AUTH_TOKEN": "t"})
    assert configuration.entries == (
        ConfigEntry("auth-token", "***", Source.ENVIRONMENT, redacted=True),
        ConfigEntry("db-password", "***", Source.FLAG, redacted=True),
    )


@pytest.mark.parametrize(
    "argv",
    [
        ["x", "--password", "-hunter2"],
        ["x", "--password", "--hunter2"],
        ["x", "-p", "hunter2"],
        ["x", "--password:hunter2"],
        ["x", "--user=admin:hunter2"],
        ["x", "data", "postgres://u:hunter2@h/db"],
    ],
)
def test_a_secret_becomes_neither_a_name_nor_a_command_word(argv):
    """A30: `--password -X` showed X as the name of a flag."""
    assert "hunter2" not in repr(configuration_of(argv))


@pytest.mark.parametrize(
    ("argv", "command", "values"),
    [
        (["--tls", "data"], ("data",), {"tls": "true"}),
        (["--tls", "--logging-level", "debug", "data"], ("data",), {"tls": "true"}),
        (["--tls", "liaison", "--grpc-port", "17912"], ("liaison",), {"tls": "true"}),
        (["data", "--node-labels", "data"], ("data",), {"node-labels": "data"}),
        (["--node-labels", "data", "liaison"], ("liaison",), {"node-labels": "data"}),
        (["--tls", "debug"], (), {"tls": "debug"}),
    ],
)
def test_a13_a_switch_does_not_swallow_the_command(argv, command, values):
    told = configuration_of(["banyand", *argv])
    assert told.command == command
    shown = {entry.name: entry.value for entry in told.entries}
    assert {name: shown[name] for name in values} == values


def test_hash_depends_on_values_not_on_order_or_source():
    first = configuration_of(["x", "data", "--a=1", "--b=2"])
    assert first.hash == configuration_of(["y", "data", "--b=2"], {"BYDB_A": "1"}).hash
    assert first.hash != configuration_of(["x", "data", "--a=1", "--b=3"]).hash
    assert first.hash != configuration_of(["x", "liaison", "--a=1", "--b=2"]).hash


def test_empty_argv_gives_an_empty_configuration():
    assert configuration_of([]) == NodeConfiguration((), ())


def test_drift_names_the_majority():
    nodes = {
        "data-0": entries(flush="1s", host="a"),
        "data-1": entries(flush="1s", host="b"),
        "data-2": entries(flush="9s", host="c"),
    }
    assert drift(nodes) == [
        Drift("flush", False, {"1s": ("data-0", "data-1"), "9s": ("data-2",)}, True, "1s"),
        Drift("host", True, {"a": ("data-0",), "b": ("data-1",), "c": ("data-2",)}, False, None),
    ]


def test_drift_shows_a_setting_that_only_some_nodes_have():
    (found,) = drift({"a": entries(x="1"), "b": [], "c": []})
    assert found.values == {"1": ("a",), None: ("b", "c")}
    assert (found.has_majority, found.majority) == (True, None)


def test_equal_nodes_have_no_drift():
    assert drift({"a": entries(x="1"), "b": entries(x="1")}) == []
    assert drift({}) == []


def test_identity_names():
    """C8: ports were drift while the addresses that hold them were not."""
    names = ["grpc-host", "measure-root-path", "pprof-listener-addr", "node-labels", "grpc-port"]
    assert [is_identity(name) for name in names] == [True, True, True, True, True]
    assert not is_identity("transport-timeout")
    assert not is_identity("port-range-check")
