# SPDX-License-Identifier: Apache-2.0
"""The fallback loader: another process loads by libbpf and hands the descriptors over."""

import errno
import platform
import sys
from pathlib import Path

import pytest

from fodc_agent.kernel_groups import KERNEL_GROUPS
from fodc_agent.ktm import telemetry as module
from fodc_agent.ktm.libbpf import load_by_libbpf
from fodc_agent.ktm.loading import LoadError, load
from fodc_agent.ktm.target import Target, TargetKind
from fodc_agent.ktm.telemetry import BLOBS, Telemetry, refusal
from fodc_agent.sources.readings import GapReason
from tests.agent.ktm.conftest import facts, need_tracefs
from tests.agent.ktm.test_reads_in_this_kernel import READS, counted

OBJECT = BLOBS / platform.machine() / "sys.o"


def broken_blobs(folder):
    """Make blobs of which the kernel takes none, beside the true objects."""
    made = folder / platform.machine()
    made.mkdir()
    for name in KERNEL_GROUPS:
        whole = (OBJECT.parent / f"{name}.blob").read_bytes()
        (made / f"{name}.blob").write_bytes(whole[:-8] + b"\xff" * 8)
        (made / f"{name}.o").write_bytes((OBJECT.parent / f"{name}.o").read_bytes())
    return folder


@pytest.fixture
def libbpf(telemetry):
    telemetry("sys").close()
    if not facts().libbpf:
        pytest.skip("NO libbpf.so.1 HERE: nothing is loaded by it")


@pytest.mark.usefixtures("libbpf")
def test_what_the_kernel_refuses_is_loaded_by_libbpf_and_counts_the_same(
    make_group, worker, tmp_path
):
    group = make_group("unified")
    kernel = Telemetry(["sys"], blobs=broken_blobs(tmp_path))
    try:
        kernel.load(facts())
        kernel.aim(Target(TargetKind.UNIFIED, group.stat().st_ino))
        worker("reads", group).work()

        found = counted(kernel)
    finally:
        kernel.close()
    assert kernel.gaps == ()
    assert found == READS


@pytest.mark.usefixtures("libbpf")
def test_groups_of_all_kinds_are_loaded_by_libbpf_and_nothing_of_it_stays_in_the_agent(tmp_path):
    need_tracefs()
    kernel = Telemetry(["mm", "fs", "cpu"], blobs=broken_blobs(tmp_path))
    try:
        kernel.load(facts())

        assert kernel.gaps == ()
        assert {"ktm_cache_fills_total", "ktm_fs_sync_errors_total"} < {
            one.series.name for one in kernel.samples()
        }
    finally:
        kernel.close()
    assert "libbpf" not in Path("/proc/self/maps").read_text()


@pytest.mark.usefixtures("libbpf")
def test_what_libbpf_refuses_has_its_words(tmp_path):
    (tmp_path / "none.o").write_bytes(b"\x7fELF is none")

    with pytest.raises(OSError, match=r"opening by libbpf.so.1"):
        load_by_libbpf(tmp_path / "none.o")


def child(text):
    """Return a program that stands in for the one with libbpf."""
    return [sys.executable, "-S", "-c", text]


def test_a_process_that_ends_without_an_answer_is_an_error_and_no_wait():
    with pytest.raises(OSError, match="ended without an answer") as raised:
        load_by_libbpf(OBJECT, child("pass"))

    assert raised.value.errno == errno.EPROTO


def test_names_without_descriptors_are_an_error():
    text = 'import socket, sys; socket.socket(fileno=int(sys.argv[1])).send(b\'{"maps": ["a"]}\')'

    with pytest.raises(OSError, match="ended without an answer"):
        load_by_libbpf(OBJECT, child(text))


def test_where_both_are_refused_both_say_why(telemetry):
    telemetry("sys").close()
    group = module.groups_to_load(["sys"])[0]
    blob = (OBJECT.parent / "sys.blob").read_bytes()[:-8] + b"\xff" * 8

    def spare():
        raise OSError(errno.ENOPKG, "libbpf.so.1: cannot open shared object file")

    with pytest.raises(LoadError, match=r"loading: .*by libbpf neither: libbpf.so.1") as raised:
        load(group, blob, spare=spare)

    assert refusal(raised.value) is GapReason.REFUSED
