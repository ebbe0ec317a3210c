# SPDX-License-Identifier: Apache-2.0
"""Crashes that a node wrote down: upstream-agent §10, T-CR, on real folders."""

import asyncio
import json
import os
import shutil
from pathlib import Path

import pytest

from fodc_agent.evidence.crashes import NEWEST, RECORD_BYTES, CrashFolder
from fodc_agent.evidence.panics import NoCrashError, crash_message
from fodc_wire.banyandb.fodc.v1 import rpc_pb2 as pb

RECORDED = Path(__file__).parents[2] / "data" / "crash" / "panic.json"
FIRST = "20261121T070639.399691654Z-lab-test-2121-7"


def write(folder, name=FIRST, content=None, **files):
    """A crash as a node writes it; without content the recorded one."""
    made = folder / name
    made.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        (made / f"{file}.json").write_text(text)
    if content is None:
        shutil.copyfile(RECORDED, made / "panic.json")
    else:
        (made / "panic.json").write_text(content)
    return made


def read(watched):
    told = asyncio.run(watched.messages())
    return [pb.StreamCrashDiagnosticsRequest.FromString(one) for one in told]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "crash"


@pytest.fixture
def watched(folder):
    return CrashFolder(folder, now_ns=lambda: 1_795_244_997_418_698_429)


def test_t_cr_01_recorded_crash_reads_as_the_go_agent_reads_it(folder, watched):
    """Field by field, in the message of the existing contract; T-CR-08: its name as it is."""
    write(folder, deep_dump="{}")
    (told,) = read(watched)

    assert told.fetched_at.ToJsonString() == "2026-11-21T07:09:57.418698429Z"
    assert (told.source_endpoint, told.artifact_dir) == (f"file://{folder}", FIRST)
    assert list(told.files) == ["deep_dump.json", "panic.json"]
    record, wanted = told.panic_record, json.loads(RECORDED.read_text())
    assert record.occurred_at.ToJsonString() == wanted["occurredAt"]
    assert record.component == wanted["component"]
    assert record.panic_value == wanted["panicValue"]
    assert record.goroutine_stack == wanted["goroutineStack"]
    assert record.recovered is wanted["recovered"]
    assert dict(record.process_metadata) == wanted["processMetadata"]
    assert [crumb.stage for crumb in record.breadcrumbs] == [
        crumb["stage"] for crumb in wanted["breadcrumbs"]
    ]
    assert dict(record.breadcrumbs[0].fields) == wanted["breadcrumbs"][0]["fields"]
    assert record.breadcrumbs[0].time.ToJsonString() == wanted["breadcrumbs"][0]["time"]


def test_folder_that_appears_with_the_first_panic_is_seen_then(folder, watched):
    """W-31: the existing agent polled for it and never watched it afterwards."""
    assert read(watched) == []
    write(folder)

    assert [one.artifact_dir for one in read(watched)] == [FIRST]


def test_t_cr_02_crash_is_read_once_and_told_each_time(folder, watched):
    """Told again with the time at which it was read first."""
    write(folder)
    (first,) = read(watched)
    watched._now_ns = lambda: 0

    assert read(watched) == [first]


def test_w_32_t_cr_11_file_that_comes_later_is_listed_too(folder, watched):
    write(folder)
    read(watched)
    write(folder, deep_dump="{}")

    assert list(read(watched)[0].files) == ["deep_dump.json", "panic.json"]


def test_t_cr_03_two_crashes_are_two(folder, watched):
    write(folder, "20261121T000000Z-a")
    write(folder, "20261121T000001Z-b")

    assert len(read(watched)) == 2


def test_w_34_crash_that_is_half_written_hides_no_other_and_is_whole_the_next_time(folder, watched):
    write(folder, "20261121T000001Z-a", RECORDED.read_text()[:200])
    write(folder, "20261121T000000Z-b")
    before = [one.artifact_dir for one in read(watched)]
    write(folder, "20261121T000001Z-a")

    assert before == ["20261121T000000Z-b"]
    assert [one.artifact_dir for one in read(watched)] == [
        "20261121T000001Z-a",
        "20261121T000000Z-b",
    ]


def test_t_cr_05_t_cr_12_folders_without_a_record_are_passed_over(folder, watched):
    (folder / "empty").mkdir(parents=True)
    (folder / "only-dump").mkdir()
    (folder / "only-dump" / "deep-dump.json").write_text("{}")
    (folder / "a-file").write_text("{}")

    assert read(watched) == []


def test_t_pd_15_t_cr_09_t_cr_13_the_newest_are_told_the_newest_first(folder, watched):
    """Five of them, where a ring of the existing agent had as many as its memory allowed."""
    for number in range(NEWEST + 3):
        write(folder, f"2026112{number}T000000Z-a")

    assert [one.artifact_dir for one in read(watched)] == [
        f"2026112{number}T000000Z-a" for number in range(NEWEST + 2, 2, -1)
    ]


def test_links_of_the_node_lead_nowhere(folder, watched, tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir()
    shutil.copyfile(RECORDED, secret / "panic.json")
    (folder / "linked").mkdir(parents=True)
    (folder / "linked" / "panic.json").symlink_to(secret / "panic.json")
    (folder / "20261121T000000Z-dir").symlink_to(secret)

    assert read(watched) == []


def test_pipe_in_place_of_a_record_blocks_nobody(folder, watched):
    made = write(folder)
    (made / "panic.json").unlink()
    os.mkfifo(made / "panic.json")

    assert read(watched) == []


def test_record_that_is_too_long_is_passed_over(folder, watched):
    write(folder, content=" " * (RECORD_BYTES + 1))

    assert read(watched) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_what_is_no_record_is_no_crash(content):
    with pytest.raises(NoCrashError):
        crash_message(content, endpoint="e", name="n", files=(), fetched_ns=0)


def test_t_cr_14_t_cr_15_whatever_is_odd_in_a_record_costs_its_field_alone():
    odd = {
        "occurredAt": "yesterday",
        "component": 5,
        "panicValue": "boom",
        "recovered": "yes",
        "breadcrumbs": [7, {"time": "never", "stage": "s", "fields": {"a": 1}}],
        "processMetadata": ["x"],
    }
    data = crash_message(json.dumps(odd).encode(), endpoint="e", name="n", files=(), fetched_ns=0)
    record = pb.StreamCrashDiagnosticsRequest.FromString(data).panic_record

    assert (record.component, record.panic_value, record.recovered) == ("", "boom", False)
    assert not record.HasField("occurred_at")
    assert [crumb.stage for crumb in record.breadcrumbs] == ["s"]


def test_secrets_of_a_panic_do_not_leave_the_pod():
    told = {
        "panicValue": "dial postgres://joe:hunter2secret@db/x",
        "processMetadata": {"password": "hunter2secret"},
        "breadcrumbs": [{"stage": "s", "fields": {"token": "hunter2secret"}}],
    }
    data = crash_message(json.dumps(told).encode(), endpoint="e", name="n", files=(), fetched_ns=0)

    assert b"hunter2secret" not in data
