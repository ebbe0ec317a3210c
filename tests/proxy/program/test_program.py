# SPDX-License-Identifier: Apache-2.0
"""The program as a process: settings, addresses, and an end that does not wait for agents."""

import asyncio
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time

import grpc
import pytest

from fodc_protocol.errors import OptionError
from fodc_proxy.settings import resolved, settings_of
from fodc_wire.banyandb.fodc.v1 import rpc_pb2 as fodc

FREE = ("--grpc-listen-addr=127.0.0.1:0", "--http-listen-addr=127.0.0.1:0", "--print-addresses")


@contextlib.contextmanager
def program(*flags: str):
    child = subprocess.Popen(
        [sys.executable, "-m", "fodc_proxy", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.kill()
        child.communicate(timeout=10)


def ended(*flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fodc_proxy", *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


def settings(*flags: str, **environ: str):
    return settings_of(resolved(flags, environ))


def test_w14_sigterm_ends_the_program_within_two_seconds_with_agents_attached(tmp_path):
    """Upstream waits for streams that never end."""

    async def attach(address: str, child: subprocess.Popen[str]) -> float:
        async with grpc.aio.insecure_channel(address) as channel:
            calls = []
            for number in range(20):
                call = channel.stream_stream("/banyandb.fodc.v1.FODCService/RegisterAgent")()
                request = fodc.RegisterAgentRequest(node_role="R", pod_name=f"p{number}")
                await call.write(request.SerializeToString())
                await call.read()
                calls.append(call)
            child.send_signal(signal.SIGTERM)
            started = time.monotonic()
            await asyncio.to_thread(child.wait, 10)
            took_s = time.monotonic() - started
            for call in calls:
                call.cancel()
            return took_s

    took_s = []
    for number in range(3):  # what else the machine does may take its time from one
        with program(*FREE, f"--data-dir={tmp_path / str(number)}") as child:
            addresses = json.loads(child.stdout.readline())
            took_s.append(asyncio.run(attach(addresses["grpc"], child)))
        assert child.returncode == 0

    assert min(took_s) < 2


def test_both_listeners_speak_ipv6_and_a_name_may_be_allowed(tmp_path):
    """P20, P21: the brackets of a gRPC address were lost; a foreign name is refused."""
    listen = ("--grpc-listen-addr=[::1]:0", "--http-listen-addr=[::1]:0", "--print-addresses")
    allowed = "--http-allowed-hosts=fodc.example.com"

    async def registered(address: str) -> bool:
        async with grpc.aio.insecure_channel(address) as channel:
            call = channel.stream_stream("/banyandb.fodc.v1.FODCService/RegisterAgent")()
            request = fodc.RegisterAgentRequest(node_role="R", pod_name="p")
            await call.write(request.SerializeToString())
            reply = fodc.RegisterAgentResponse.FromString(await call.read())
            call.cancel()
            return reply.success

    def status(address: str, host: str) -> int:
        connection = http.client.HTTPConnection("::1", int(address.rpartition(":")[2]), timeout=10)
        connection.request("GET", "/healthz", headers={"Host": host})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status

    with program(*listen, allowed, f"--data-dir={tmp_path}") as child:
        addresses = json.loads(child.stdout.readline())
        assert asyncio.run(registered(addresses["grpc"]))
        told = [status(addresses["http"], host) for host in ("fodc.example.com", "evil.example")]

    assert told == [200, 421]


def test_h04_address_in_use_is_told_and_fatal():
    """Upstream goes on without HTTP."""
    with program(*FREE) as child:
        taken = json.loads(child.stdout.readline())["http"]
        second = ended("--grpc-listen-addr=127.0.0.1:0", f"--http-listen-addr={taken}")

    assert second.returncode == 1
    assert taken.rpartition(":")[2] in second.stderr


def test_a_second_proxy_on_a_data_folder_is_refused_and_told_whose_it_is(tmp_path):
    """Defect P12."""
    with program(*FREE, f"--data-dir={tmp_path}") as first:
        first.stdout.readline()
        second = ended(*FREE, f"--data-dir={tmp_path}")
        assert second.returncode == 1
        assert f"in use by process {first.pid} on " in second.stderr
        assert "--data-dir" in second.stderr
        first.kill()
        first.wait(10)
    with program(*FREE, f"--data-dir={tmp_path}") as third:
        assert "grpc" in json.loads(third.stdout.readline())


def test_a_retention_that_does_not_fit_is_told_at_the_start(tmp_path):
    """Defect P17."""
    told = ended(*FREE, f"--data-dir={tmp_path}", "--artifact-retention-bytes=8000000000GiB")
    assert told.returncode == 1
    assert "--artifact-retention-bytes is " in told.stderr


def test_wrong_settings_end_with_two_and_name_every_flag():
    told = ended("--max-agents=0", "--agent-heartbeat-timeout=soon", "--nosuch=1")

    assert told.returncode == 2
    assert all(part in told.stderr for part in ("max-agents", "heartbeat-timeout", "--nosuch"))


def test_help_and_version_answer_without_a_start():
    assert "--agent-cleanup-timeout" in ended("--help").stdout
    assert ended("--version").stdout.startswith("fodc-proxy ")


def test_defaults_are_those_of_the_existing_proxy():
    told = settings()

    assert (str(told.grpc_listen), str(told.http_listen)) == (":17912", ":17913")
    assert (told.limits.heartbeat_timeout_ms, told.limits.cleanup_timeout_ms) == (30_000, 300_000)
    assert (told.limits.max_agents, told.max_message_bytes) == (1000, 32 * 1024 * 1024)
    assert (told.http_write_timeout_s, told.heartbeat_interval_s) == (10.0, 10.0)
    assert told.collection_timeout_s < told.http_write_timeout_s


def test_environment_is_used_below_flags():
    told = settings("--max-agents=7", FODC_PROXY_MAX_AGENTS="9", FODC_PROXY_LOG_LEVEL="debug")

    assert (told.limits.max_agents, told.log_level) == (7, "debug")


def test_r20_cleanup_not_greater_than_the_heartbeat_timeout_is_refused():
    with pytest.raises(OptionError, match="--agent-cleanup-timeout must be greater than"):
        settings("--agent-heartbeat-timeout=30s", "--agent-cleanup-timeout=30s")


def test_settings_come_from_a_file_too(tmp_path):
    path = tmp_path / "proxy.yaml"
    path.write_text("max_agents: 12\nhttp-listen-addr: ':1'\nbogus: 1\n")

    told = ended(f"--config={path}")

    assert told.returncode == 2
    assert "bogus" in told.stderr


def test_log_is_one_line_per_record_with_key_and_value(tmp_path):
    with program(*FREE, f"--data-dir={tmp_path}", "--log-format=json") as child:
        child.stdout.readline()
        os.kill(child.pid, signal.SIGINT)
        _, log = child.communicate(timeout=10)

    records = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert any(r["message"].startswith("listening: grpc=127.0.0.1:") for r in records)
    assert child.returncode == 0
