# SPDX-License-Identifier: Apache-2.0
"""The pprof port of the sample node."""

import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from .asking import ask, read_profile

CPU_COLUMNS = ["samples", "cpu"]
HEAP_COLUMNS = ["alloc_objects", "alloc_space", "inuse_objects", "inuse_space"]


def profile(node, path):
    said = ask(node.pprof_port, f"/debug/pprof/{path}")
    assert said.status == 200, said.body
    assert said.headers["content-type"] == "application/octet-stream"
    return said.body


def has_function(functions, *words):
    return any(word in name for name in functions for word in words)


def test_cpu_profile_names_the_working_functions(shared_node):
    found = read_profile(profile(shared_node, "profile?seconds=2"))
    assert found.columns == CPU_COLUMNS
    assert found.samples > 0
    assert has_function(found.functions, "flush", "search", "encode")


@pytest.mark.parametrize("name", ["heap", "allocs"])
def test_heap_profile_has_samples_under_load(shared_node, name):
    found = read_profile(profile(shared_node, name))
    assert found.columns == HEAP_COLUMNS
    assert found.samples > 0


def test_goroutine_profile_shows_the_waiting_ones(shared_node):
    found = read_profile(profile(shared_node, "goroutine"))
    assert found.columns == ["goroutine"]
    assert has_function(found.functions, "await")


def test_goroutine_text_lists_stacks(shared_node):
    said = ask(shared_node.pprof_port, "/debug/pprof/goroutine?debug=2")
    assert said.body.startswith(b"goroutine ")
    assert b"await" in said.body


def test_threadcreate_profile_has_samples(shared_node):
    found = read_profile(profile(shared_node, "threadcreate"))
    assert (found.columns, found.samples > 0) == (["threadcreate"], True)


@pytest.mark.parametrize("name", ["block", "mutex"])
def test_contention_profiles_are_empty_when_no_rate_is_set(shared_node, name):
    found = read_profile(profile(shared_node, name))
    assert (found.columns, found.samples) == (["contentions", "delay"], 0)


def test_contention_profiles_have_samples_when_rates_are_set(running, variant):
    if variant == "python":
        pytest.skip("Python measures no contention")
    with running.sample_node(load=5, prefer=variant, mutex_rate=1, block_rate=1) as node:
        profile(node, "profile?seconds=1")  # lets a second of work pass
        mutex = read_profile(profile(node, "mutex"))
        block = read_profile(profile(node, "block"))
    assert has_function(mutex.functions, "(*shard).write")
    assert block.samples > 0


def test_trace_is_recorded_or_honestly_refused(shared_node):
    said = ask(shared_node.pprof_port, "/debug/pprof/trace?seconds=1")
    if shared_node.variant == "go":
        assert said.body.startswith(b"go 1.")
    else:
        assert said.status == 501
        assert said.headers["x-go-pprof"] == "1"
        assert b"trace" in said.body


def test_cmdline_begins_like_banyand_and_holds_every_flag(running, variant):
    arguments = ["--measure-root-path=/data", "--etcd-password=secret"]
    with running.sample_node(role="liaison", prefer=variant, arguments=arguments) as node:
        words = ask(node.pprof_port, "/debug/pprof/cmdline").body.decode().split("\0")
    assert words[0].rpartition("/")[2] == "banyand"
    assert words[1] == "liaison"
    assert words[4:6] == ["--node-labels", "type=hot"]
    assert words[-2:] == arguments


def test_one_of_two_cpu_profiles_at_a_time_is_refused(shared_node):
    path = "/debug/pprof/profile?seconds=1"
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: ask(shared_node.pprof_port, path), range(2)))
    taken, refused = sorted(both, key=lambda said: said.status)
    assert (taken.status, refused.status) == (200, 500)
    assert refused.headers["x-go-pprof"] == "1"
    assert b"CPU profiling" in refused.body
    assert read_profile(taken.body).columns == CPU_COLUMNS


@pytest.mark.parametrize("path", ["nonsense", "heap/"])
def test_unknown_profile_is_not_found(shared_node, path):
    assert ask(shared_node.pprof_port, f"/debug/pprof/{path}").status == 404


@pytest.mark.parametrize("path", ["profile?seconds=1", "heap", "goroutine"])
def test_go_tool_pprof_reads_the_profile(shared_node, tmp_path, path, go_pprof):
    file = tmp_path / "profile"
    file.write_bytes(profile(shared_node, path))
    command = [*go_pprof, "-top", "-sample_index=0", str(file)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "flat%" in printed.stdout
    assert len(printed.stdout.splitlines()) > 5
