# SPDX-License-Identifier: Apache-2.0
"""Start, load, end and command line of the sample node."""

import contextlib
import json
import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from .asking import ask


def is_alive(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def threads_of(node):
    page = ask(node.metrics_port, "/metrics").body.decode()
    return float(page.split("\ngo_goroutines ")[1].split("\n")[0])


def test_node_tells_its_ports_and_its_own_process_id(shared_node):
    assert shared_node.pid == shared_node.process.pid
    assert shared_node.metrics_port != shared_node.pprof_port
    assert is_alive(shared_node.pid)


def test_sigterm_ends_the_node_even_while_answers_hang(running, variant):
    with running.sample_node(load=2, prefer=variant) as node:
        node.fault("hang", for_s=60)
        with socket.create_connection(("127.0.0.1", node.metrics_port)) as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: node\r\n\r\n")
            assert node.stop() < running.STOP_DEADLINE_S
    assert node.process.returncode == 0


def test_block_ends_the_node_when_it_is_left_by_an_error(running, variant):
    with pytest.raises(KeyError), running.sample_node(prefer=variant) as node:
        raise KeyError
    assert node.process.returncode == 0
    assert not is_alive(node.pid)


def test_killed_node_is_gone_at_once(running, variant):
    with running.sample_node(prefer=variant) as node:
        node.kill()
        assert node.process.returncode == -9
        with pytest.raises(ConnectionRefusedError):
            ask(node.metrics_port, "/metrics")


def test_node_ends_when_its_starter_closes_its_input(running, variant):
    with running.sample_node(prefer=variant) as node:
        node.process.stdin.close()
        assert node.process.wait(10) == 0


def test_load_can_be_raised_and_lowered(running, variant):
    with running.sample_node(prefer=variant) as node:
        idle = threads_of(node)
        node.load(3)
        loaded = threads_of(node)
        node.load(0)
        deadline = time.monotonic() + 5
        while threads_of(node) > idle + 4 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert loaded >= idle + 15
        assert threads_of(node) <= idle + 4


def test_wrong_load_is_an_error_that_names_the_parameter(running, shared_node):
    with pytest.raises(running.NodeError, match="n: want a whole number"):
        shared_node.load(-1)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--role=queen"], "--role: "),
        (["data", "--load=many"], "--load: "),
        (["data", "--seires=100"], "--seires: "),
        (["data", "more"], "more"),
        (["data", "--observability-listener-addr=127.0.0.1"], "--observability-listener-addr: "),
    ],
)
def test_wrong_command_line_ends_with_an_error_that_names_the_flag(
    running, variant, arguments, named
):
    command = [*running.build.node_command(variant), *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith("sample node: ")
    assert named in ended.stderr


def test_node_that_cannot_start_is_reported_with_its_own_words(running, variant):
    wrong = running.sample_node(prefer=variant, arguments=["--lable=x"])
    with pytest.raises(running.NodeError, match="--lable"), wrong:
        pass


def test_forced_variant_wins_over_the_preferred_one(running, monkeypatch):
    monkeypatch.setenv("FODC_SAMPLE_NODE", "python")
    assert running.build.chosen_variant("go") == "python"
    monkeypatch.setenv("FODC_SAMPLE_NODE", "cobol")
    with pytest.raises(running.build.BuildError, match="'cobol' is neither go nor python"):
        running.build.chosen_variant()


def test_python_is_chosen_when_there_is_no_compiler(running, monkeypatch):
    monkeypatch.delenv("FODC_SAMPLE_NODE", raising=False)
    monkeypatch.setenv("PATH", "/nonexistent")
    assert running.build.chosen_variant() == "python"
    assert running.build.node_command()[1].endswith("twin")


def test_built_node_is_kept_outside_the_tree_under_a_hash(running, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert running.build.cache_directory() == tmp_path / "banyandb-fodc" / "sample-node"
    one, other = running.build.source_digest("go1"), running.build.source_digest("go2")
    assert (len(one), one != other) == (16, True)


def test_sources_need_nothing_but_the_standard_libraries(running, twin_directory):
    module = (running.build.NODE_DIRECTORY / "go.mod").read_text(encoding="utf-8")
    assert "require" not in module
    own = {path.stem for path in twin_directory.glob("*.py")}
    assert "page" in own
    for path in twin_directory.glob("*.py"):
        command = ["grep", "-nE", "^(from|import) (fodc|grpc|aiohttp|prometheus|yaml|h11)", path]
        assert subprocess.run(command, capture_output=True, check=False).stdout == b""


def test_node_holds_more_and_more_memory_when_it_is_told_to(running, variant):
    with running.sample_node(prefer=variant) as node:
        before = resident_mib(node)
        node.grow(64)
        deadline = time.monotonic() + 20
        while resident_mib(node) < before + 32:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with pytest.raises(running.NodeError, match="from 1 to 1024"):
            node.grow(0)


def test_node_that_panics_writes_its_crash_down_and_ends(running, variant, monkeypatch, tmp_path):
    monkeypatch.setenv("BYDB_PANIC_DIAGNOSTICS_DIR", str(tmp_path / "crash"))
    with running.sample_node(prefer=variant) as node:
        node.panic()
        assert node.process.wait(10) == 2
    (record,) = (tmp_path / "crash").glob("2*Z-banyandb-*/panic.json")
    told = json.loads(record.read_text(encoding="utf-8"))
    assert told["panicValue"] == "the sample node was asked to panic"
    assert "panic" in told["goroutineStack"]


def resident_mib(node):
    return int(Path(f"/proc/{node.pid}/statm").read_text(encoding="ascii").split()[1]) / 256
