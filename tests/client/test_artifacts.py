# SPDX-License-Identifier: Apache-2.0
"""`fodc artifacts`: list, get, delete; and what files are called."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fodc_client.downloads import Wanted, file_name, numbered

LIST = """\
ARTIFACT  NODE    PROFILE      SIZE  CAPTURED             REQUEST
art-1     data-0  heap     50.6 KiB  2026-11-21 07:06:39  req-1
"""


@pytest.fixture
def heap(proxy, make):
    content = make.recorded("heap")
    proxy.artifacts["art-1"] = content
    proxy.manifests["art-1"] = {
        "artifact_id": "art-1",
        "request_id": "req-1",
        "node_id": "data-0",
        "profile": "heap",
        "format": "pprof",
        "size_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "created_at": "2026-11-21T07:06:39.000Z",
    }
    return content


def test_list_shows_a_row_per_artifact(fodc, heap):
    assert fodc("artifacts", "list").out == LIST


def test_list_reads_manifests_with_milliseconds_and_node(fodc, proxy, heap):
    manifest = proxy.manifests["art-1"]
    del manifest["created_at"], manifest["node_id"]
    manifest.update(node="data-0", started_at_ms=1795244799000)

    assert fodc("artifacts", "list").out == LIST


def test_list_wide_has_the_checksum(fodc, proxy, heap):
    assert proxy.manifests["art-1"]["sha256"] in fodc("artifacts", "list", "-o", "wide").out


def test_get_saves_the_file_and_prints_only_its_path(fodc, heap, tmp_path):
    ran = fodc("artifacts", "get", "art-1", "--output-dir", tmp_path / "new")

    path = tmp_path / "new" / "data-0-heap-20261121T070639Z.pb.gz"
    assert ran.out == f"{path}\n"
    assert path.read_bytes() == heap
    assert ran.code == 0


def test_get_by_request_fetches_all_of_it(fodc, heap, tmp_path):
    ran = fodc("artifacts", "get", "--request", "req-1", "--output-dir", tmp_path, "-o", "json")

    assert [file["artifact_id"] for file in json.loads(ran.out)["files"]] == ["art-1"]


def test_get_twice_keeps_one_file(fodc, heap, tmp_path):
    fodc("artifacts", "get", "art-1", "--output-dir", tmp_path)
    fodc("artifacts", "get", "art-1", "--output-dir", tmp_path)

    assert len(list(tmp_path.iterdir())) == 1


def test_get_never_overwrites_another_file(fodc, heap, tmp_path):
    (tmp_path / "data-0-heap-20261121T070639Z.pb.gz").write_text("mine")

    ran = fodc("artifacts", "get", "art-1", "--output-dir", tmp_path)

    assert ran.out == f"{tmp_path}/data-0-heap-20261121T070639Z-2.pb.gz\n"
    assert (tmp_path / "data-0-heap-20261121T070639Z.pb.gz").read_text() == "mine"


def test_get_keeps_nothing_when_the_disk_is_full(spawn, heap, tmp_path):
    small = ["sh", "-c", 'ulimit -f 8; exec "$@"', "sh"]

    process = spawn("artifacts", "get", "art-1", text=True, prefix=small)

    _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "File too large" in err
    assert list(tmp_path.iterdir()) == []


def test_get_keeps_artifacts_apart_that_would_have_one_name(fodc, proxy, heap, make, tmp_path):
    other = make.recorded("goroutine")
    proxy.artifacts["art-2"] = other
    changes = {
        "artifact_id": "art-2",
        "size_bytes": len(other),
        "sha256": hashlib.sha256(other).hexdigest(),
    }
    proxy.manifests["art-2"] = {**proxy.manifests["art-1"], **changes}

    fodc("artifacts", "get", "--request", "req-1", "--output-dir", tmp_path)

    assert sorted(len(path.read_bytes()) for path in tmp_path.iterdir()) == [len(other), len(heap)]


def test_get_is_partial_when_one_is_not_there(fodc, heap, tmp_path):
    ran = fodc("artifacts", "get", "art-1", "art-2", "--output-dir", tmp_path)

    assert ran.code == 5
    assert "no artifact 'art-2'" in ran.err


def test_get_says_not_found_when_none_is_there(fodc, tmp_path):
    assert fodc("artifacts", "get", "art-2", "--output-dir", tmp_path).code == 4
    assert fodc("artifacts", "get", "--request", "r", "--output-dir", tmp_path).code == 4


def test_get_needs_ids_or_a_request(fodc, proxy):
    assert fodc("artifacts", "get").code == 2
    assert fodc("artifacts", "get", "art-1", "--request", "req-1").code == 2
    assert proxy.asked == []


def test_delete_removes_what_is_there_and_names_what_is_not(fodc, proxy, heap):
    ran = fodc("artifacts", "delete", "art-1", "art-2")

    assert ran.out == "deleted art-1\n"
    assert ran.code == 5
    assert proxy.manifests == {}
    assert fodc("artifacts", "delete", "art-1").code == 4


def wanted(**changes):
    time = datetime(2026, 11, 21, 7, 6, 39, tzinfo=UTC)
    given = {
        "artifact_id": "art-1",
        "node_id": "data-0",
        "profile": "cpu",
        "size_bytes": 1,
        "sha256": "",
        "captured_at": time,
    }
    return Wanted(**{**given, **changes})


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "data-0-cpu-20261121T070639Z.pb.gz"),
        ({"profile": "trace"}, "data-0-trace-20261121T070639Z.trace"),
        ({"profile": "kernel"}, "data-0-kernel-20261121T070639Z.bin"),
        ({"captured_at": None}, "data-0-cpu-art-1.pb.gz"),
        ({"node_id": "../../etc/x"}, "_._.._etc_x-cpu-20261121T070639Z.pb.gz"),
    ],
)
def test_file_name_is_one_safe_path_part(changes, name):
    assert file_name(wanted(**changes)) == name


def test_numbered_puts_the_number_before_the_extension():
    assert numbered(Path("a/b.c-cpu.pb.gz"), 1) == Path("a/b.c-cpu.pb.gz")
    assert numbered(Path("a/b.c-cpu.pb.gz"), 2) == Path("a/b.c-cpu-2.pb.gz")
    assert numbered(Path("b.c.trace"), 3) == Path("b.c-3.trace")
    assert numbered(Path("plain"), 2) == Path("plain-2")
