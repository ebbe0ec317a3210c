# SPDX-License-Identifier: Apache-2.0
"""`fodc artifacts`: list, get, delete; and what files are called."""

import hashlib
import json
from pathlib import Path

import pytest

from fodc_client.downloads import Wanted, file_name, numbered
from tests.client.stage import Gives


@pytest.fixture
def stored(fodc, stage, recorded, tmp_path_factory):
    """What the proxy says of a heap and a goroutine profile of data-0, by profile."""
    plans = {kind: Gives(recorded(kind)) for kind in ("heap", "goroutine")}
    stage.agent("data-0", plans=plans)
    folder = tmp_path_factory.mktemp("captured")
    fodc("capture", "heap", "goroutine", "--all", "--output-dir", folder)
    listed = json.loads(fodc("artifacts", "list", "-o", "json").out)["artifacts"]
    return {each["profile"]: each for each in listed}


@pytest.fixture
def heap(stored):
    return stored["heap"]


def test_list_shows_a_row_per_artifact(fodc, heap):
    ran = fodc("artifacts", "list", "--profile", "HEAP")

    heading, row = (line.split() for line in ran.out.splitlines())
    assert heading == ["ARTIFACT", "NODE", "PROFILE", "SIZE", "CAPTURED", "REQUEST"]
    assert row[:5] == [heap["artifact_id"], "data-0", "heap", "50.6", "KiB"]
    assert row[7] == heap["request_id"]


def test_list_wide_has_the_checksum(fodc, heap):
    assert heap["sha256"] in fodc("artifacts", "list", "-o", "wide").out


def test_list_chooses_by_node_request_and_profile(fodc, stored):
    request_id = stored["heap"]["request_id"]

    def count(*words):
        return len(fodc("artifacts", "list", *words).out.splitlines()) - 1

    assert count("--node", "data-0", "--request", request_id) == 2
    assert count("--profile", "goroutine") == 1
    assert fodc("artifacts", "list", "--profile", "cpu").err == "no artifact fits\n"


def test_list_refuses_a_profile_that_is_none(fodc_alone):
    ran = fodc_alone("artifacts", "list", "--profile", "hep")

    assert ran.code == 2
    assert "--profile 'hep' is unknown. Did you mean heap?" in ran.err


def test_list_of_an_unknown_node_is_not_found(fodc, stored):
    """C3: `artifacts list --node nope` exited with 0."""
    ran = fodc("artifacts", "list", "--node", "nope")

    assert ran.code == 4
    assert ran.err == "fodc: no such node: nope. There are: data-0\n"


def test_get_saves_the_file_and_prints_only_its_path(fodc, heap, recorded, tmp_path):
    ran = fodc("artifacts", "get", heap["artifact_id"], "--output-dir", tmp_path / "new")

    (path,) = (tmp_path / "new").iterdir()
    assert ran.out == f"{path}\n"
    assert path.name.startswith("data-0-heap-20")
    assert path.read_bytes() == recorded("heap")
    assert ran.code == 0


def test_get_by_request_fetches_all_of_it(fodc, heap, tmp_path):
    ran = fodc(
        "artifacts", "get", "--request", heap["request_id"], "--output-dir", tmp_path, "-o", "json"
    )

    assert {file["profile"] for file in json.loads(ran.out)["files"]} == {"heap", "goroutine"}


def test_get_twice_keeps_one_file(fodc, heap, tmp_path):
    fodc("artifacts", "get", heap["artifact_id"], "--output-dir", tmp_path)
    fodc("artifacts", "get", heap["artifact_id"], "--output-dir", tmp_path)

    assert len(list(tmp_path.iterdir())) == 1


def test_get_never_overwrites_another_file(fodc, heap, tmp_path):
    fodc("artifacts", "get", heap["artifact_id"], "--output-dir", tmp_path)
    (mine,) = tmp_path.iterdir()
    mine.write_text("mine")

    ran = fodc("artifacts", "get", heap["artifact_id"], "--output-dir", tmp_path)

    assert ran.out == f"{str(mine).removesuffix('.pb.gz')}-2.pb.gz\n"
    assert mine.read_text() == "mine"


def test_get_keeps_nothing_when_the_disk_is_full(spawn, heap, tmp_path):
    small = ["sh", "-c", 'ulimit -f 8; exec "$@"', "sh"]

    process = spawn("artifacts", "get", heap["artifact_id"], text=True, prefix=small)

    _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "File too large" in err
    assert list(tmp_path.iterdir()) == []


def test_get_keeps_artifacts_apart_that_would_have_one_name(fodc, relay, stored, tmp_path):
    def same_kind(path, data):
        return data.replace(b'"profile":"goroutine"', b'"profile":"heap"')

    relay.altered = same_kind
    request_id = stored["heap"]["request_id"]

    fodc("artifacts", "get", "--request", request_id, "--output-dir", tmp_path)

    assert sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in tmp_path.iterdir()) == (
        sorted(each["sha256"] for each in stored.values())
    )


def test_get_is_partial_when_one_is_not_there(fodc, heap, tmp_path):
    ran = fodc("artifacts", "get", heap["artifact_id"], "art-2", "--output-dir", tmp_path)

    assert ran.code == 5
    assert "artifact art-2 does not exist" in ran.err


def test_get_says_not_found_when_none_is_there(fodc, stage, tmp_path):
    assert fodc("artifacts", "get", "art-2", "--output-dir", tmp_path).code == 4
    assert fodc("artifacts", "get", "--request", "r", "--output-dir", tmp_path).code == 4


def test_get_needs_ids_or_a_request(fodc_alone):
    assert fodc_alone("artifacts", "get").code == 2
    assert fodc_alone("artifacts", "get", "art-1", "--request", "req-1").code == 2


def test_damaged_artifact_is_refused_and_said_in_every_place(
    fodc, stage, heap, recorded, tmp_path, monkeypatch
):
    monkeypatch.setattr("fodc_client.downloads._PAUSE_S", 0.01)
    stage.alter(recorded("heap"))

    ran = fodc("artifacts", "get", heap["artifact_id"], "--output-dir", tmp_path)

    said = f"artifact {heap['artifact_id']} is damaged: its bytes are not those that were stored"
    assert ran.code == 1
    assert said in ran.err
    assert "fetch it again" not in ran.err
    assert list(tmp_path.iterdir()) == []
    assert said in fodc("artifacts", "list").err
    assert "Damaged" in fodc("artifacts", "list", "-o", "wide").out
    assert said in " ".join(fodc("doctor").out.split())


def test_record_that_cannot_be_read_hides_no_other_and_is_told(fodc, relay, heap):
    def spoilt(path, data):
        return data.replace(b'"unreadable":[]', b'"unreadable":[{"name":"k","message":"no JSON"}]')

    relay.altered = spoilt

    ran = fodc("artifacts", "list")

    assert heap["artifact_id"] in ran.out
    assert ran.err == "k in the store cannot be read: no JSON\n"
    assert fodc("requests", "list").err == "k in the store cannot be read: no JSON\n"
    assert "record k" in fodc("doctor").out


def test_delete_removes_what_is_there_and_names_what_is_not(fodc, heap):
    ran = fodc("artifacts", "delete", heap["artifact_id"], "art-2")

    assert ran.out == f"deleted {heap['artifact_id']}\n"
    assert ran.code == 5
    assert heap["artifact_id"] not in fodc("artifacts", "list").out
    assert fodc("artifacts", "delete", heap["artifact_id"]).code == 4


def wanted(**changes):
    given = {
        "artifact_id": "art-1",
        "node_id": "data-0",
        "profile": "cpu",
        "size_bytes": 1,
        "sha256": "",
        "captured_at": "2026-11-21T07:06:39.000Z",
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
