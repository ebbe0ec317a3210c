# SPDX-License-Identifier: Apache-2.0
"""What the node was told, from its pprof port and /proc, with changes counted."""

import asyncio
from pathlib import Path

import pytest

from fodc_agent.scraping.client import HttpClient, Response
from fodc_agent.scraping.faults import Fault, FetchError
from fodc_agent.sources.configuration import ConfigurationReading, ConfigurationSource
from fodc_agent.sources.node_process import NodeProcess

DATA = Path(__file__).parents[2] / "data" / "pprof"
ARGV = b"/banyand\0data\0--grpc-port=17912\0--auth-token=hush\0"


class Pprof:
    """Stands for the HTTP client: gives argv or fails."""

    def __init__(self, answer: bytes | FetchError) -> None:
        self.answer = answer

    async def get(self, url, *, timeout_s, max_bytes):
        assert url == "http://127.0.0.1:6060/debug/pprof/cmdline"
        if isinstance(self.answer, FetchError):
            raise self.answer
        return Response(200, {}, self.answer, len(self.answer))


UNREACHABLE = FetchError(Fault.REFUSED, "127.0.0.1:6060: connection refused")


def source_of(pprof: Pprof, proc, url: str = "http://127.0.0.1:6060/") -> ConfigurationSource:
    now = iter(range(0, 10_000, 10))
    node = NodeProcess(proc=proc.root, own_pid=99, clock=lambda: next(now))
    return ConfigurationSource(pprof, url, node)


def read(source: ConfigurationSource, at_ms: int = 1000) -> ConfigurationReading:
    return asyncio.run(source.collect(at_ms))


def values(reading: ConfigurationReading) -> dict[str, str]:
    return {entry.name: entry.value for entry in reading.entries}


def states(reading: ConfigurationReading) -> dict[str, str]:
    return {condition.type: condition.reason for condition in reading.conditions}


def test_arguments_come_from_the_process_itself_and_secrets_are_masked(proc):
    reading = read(source_of(Pprof(ARGV), proc))

    assert reading.command == ("data",)
    assert values(reading) == {"auth-token": "***", "grpc-port": "17912"}
    assert reading.role_word == "data"
    assert (reading.epoch, reading.collected_at_ms) == (1, 1000)


def test_arguments_of_a_recorded_banyandb_node_are_read(proc):
    reading = read(source_of(Pprof((DATA / "cmdline.body").read_bytes()), proc))

    assert reading.role_word == "standalone"
    assert "measure-root-path" in values(reading)


def test_an_environment_that_cannot_be_seen_is_a_condition(proc):
    reading = read(source_of(Pprof(ARGV), proc))

    assert states(reading) == {"Environment": "NoProcess"}
    assert "shareProcessNamespace" in reading.conditions[0].message


def test_the_environment_adds_its_settings_below_the_flags(proc):
    proc.process(12, "banyand")
    proc.write("12/environ", "BYDB_GRPC_PORT=1\0BYDB_DST_SLOW_QUERY=5s\0HOME=/root\0")

    reading = read(source_of(Pprof(ARGV), proc))

    assert values(reading) == {
        "auth-token": "***",
        "dst-slow-query": "5s",
        "grpc-port": "17912",
    }
    assert states(reading) == {}


def test_arguments_come_from_proc_where_pprof_is_closed(proc):
    proc.process(12, "banyand", argv="/banyand\0liaison\0")
    proc.write("12/environ", "")

    reading = read(source_of(Pprof(UNREACHABLE), proc))

    assert (reading.role_word, states(reading)) == ("liaison", {})


def test_nothing_to_be_seen_is_an_empty_reading_with_reasons(proc):
    reading = read(source_of(Pprof(UNREACHABLE), proc))

    assert (reading.epoch, reading.hash, reading.entries) == (0, "", ())
    assert states(reading) == {"Arguments": "Unreadable", "Environment": "NoProcess"}
    assert "connection refused" in reading.conditions[0].message
    assert "none are known" in reading.conditions[0].message


def test_the_epoch_grows_with_each_change_and_only_then(proc):
    pprof = Pprof(ARGV)
    source = source_of(pprof, proc)

    before = [read(source).epoch for _ in range(3)]
    pprof.answer = b"/banyand\0data\0--grpc-port=1\0"
    changed = read(source)
    pprof.answer = ARGV
    back = read(source)

    assert before == [1, 1, 1]
    assert (changed.epoch, back.epoch) == (2, 3)
    assert changed.hash != back.hash


def test_a_node_that_does_not_answer_keeps_its_last_settings_and_says_so(proc):
    pprof = Pprof(ARGV)
    source = source_of(pprof, proc)
    first = read(source)
    pprof.answer = UNREACHABLE

    later = read(source, at_ms=2000)

    assert (later.epoch, later.hash) == (1, first.hash)
    # A22: what is shown is as old as it is.
    assert later.collected_at_ms == 1000
    assert states(later)["Arguments"] == "Unreadable"
    assert "the last known ones are shown" in later.conditions[0].message


def test_a22_the_age_is_that_of_the_oldest_part(proc):
    proc.process(12, "banyand")
    proc.write("12/environ", "BYDB_A=1\0")
    source = source_of(Pprof(ARGV), proc)
    read(source, at_ms=1000)
    (proc.root / "12/environ").unlink()

    later = read(source, at_ms=2000)

    assert (values(later)["a"], later.collected_at_ms) == ("1", 1000)
    assert states(later) == {"Environment": "NotFound"}


def test_a22_a_reading_is_shared_for_seconds_only():
    assert ConfigurationSource.ttl_s <= 5.0


def test_a_changed_secret_is_not_seen_and_never_shown(proc):
    pprof = Pprof(ARGV)
    source = source_of(pprof, proc)
    read(source)
    pprof.answer = ARGV.replace(b"hush", b"other")

    reading = read(source)

    assert reading.epoch == 1
    assert "other" not in repr(reading)


def test_no_pprof_port_is_said(proc):
    reading = read(source_of(Pprof(ARGV), proc, url=""))

    assert "no pprof port is configured" in reading.conditions[0].message


@pytest.mark.parametrize("role", ["data", "liaison", "standalone"])
def test_a_running_node_tells_its_role_by_its_arguments(sample_nodes, proc, role):
    async def run(node):
        client = HttpClient()
        source = ConfigurationSource(
            client, f"http://127.0.0.1:{node.pprof_port}", NodeProcess(pid=node.pid)
        )
        reading = await source.collect(1000)
        await client.aclose()
        return reading

    with sample_nodes.sample_node(role=role) as node:
        reading = asyncio.run(run(node))

    assert reading.role_word == role
    assert values(reading)["node-labels"] == "type=hot"
    assert states(reading) == {}
