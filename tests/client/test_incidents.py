# SPDX-License-Identifier: Apache-2.0
"""`fodc incidents`: list, show, get."""

import json
import tarfile

import pytest

from tests.proxy.incidents.told import occurrence, pod_told


@pytest.fixture
def incident(stage, loop):
    """The id of an OOM kill of data-0, which has a log and a capture that never came."""

    async def told():
        incidents = stage.proxy.incidents
        await incidents.take(occurrence("memory-pressure", 1, at_ms=0, captures="crash=own-1"))
        await incidents.take(occurrence("oom-kill", 2, at_ms=0, rss_bytes="512"))
        await incidents.pod_ended(pod_told("OOMKilled", at_ms=None, log="fatal: out of memory\n"))
        await incidents.settled()
        return incidents.book.all()[0].id

    return loop.run(told())


def test_list_shows_a_row_per_incident(fodc, incident):
    heading, row = fodc("incidents", "list").out.splitlines()

    assert heading.split() == ["INCIDENT", "NODE", "CAUSE", "COUNT", "PHASE", "LAST", "WHAT"]
    assert row.split()[:5] == [incident, "banyandb/data-0", "OOMKilled", "1", "Open"]
    assert "container data ended by signal 9 with exit code 137 (OOMKilled)" in row


def test_list_chooses_by_node_cause_and_phase(fodc, incident):
    def count(*words):
        return len(json.loads(fodc("incidents", "list", "-o", "json", *words).out)["incidents"])

    assert count("--node", "data-0", "--cause", "oomkilled", "--open") == 1
    assert count("--cause", "MemoryPressure") == 1
    assert fodc("incidents", "list", "--node", "data-7").err == "no incident fits\n"


def test_list_without_any_says_so(fodc):
    ran = fodc("incidents", "list")

    assert (ran.code, ran.out, ran.err) == (0, "", "none\n")


def test_list_that_is_cut_says_so(fodc, incident, stage, loop):
    loop.run(stage.proxy.incidents.take(occurrence("node-gone", pod="data-1")))

    ran = fodc("incidents", "list", "--limit", "1")

    assert len(ran.out.splitlines()) == 2
    assert ran.err == "1 older incident not shown; see --limit\n"


def test_show_has_everything_and_names_what_is_missing(fodc, incident):
    out = fodc("incidents", "show", incident).out

    assert "cause:      OOMKilled, MemoryPressure\n" in out
    assert "container:  data ended: exit code 137 (OOMKilled), 1 restart\n" in out
    assert "machine:    machine-1\n" in out
    lines = out.splitlines()
    assert [line.split()[2] for line in lines if " agent " in line or " kubelet " in line] == [
        "memory-pressure",
        "oom-kill",
        "container-ended",
    ]
    assert any("(rss_bytes=512)" in line for line in lines)
    assert any("Missing" in line and "crash is no kind of capture" in line for line in lines)
    assert any(" log " in line and "Stored" in line for line in lines)


def test_show_as_json_is_the_proxys_own_answer(fodc, incident):
    told = json.loads(fodc("incidents", "show", incident, "-o", "json").out)

    assert told["incident"]["incident_id"] == incident
    assert told["bundle_path"] == f"/incidents/{incident}/bundle"


def test_get_saves_a_tar_that_is_whole(fodc, incident, tmp_path):
    ran = fodc("incidents", "get", incident, "--output-dir", tmp_path)

    assert ran.out == f"{tmp_path / incident}.tar\n"
    with tarfile.open(tmp_path / f"{incident}.tar") as tar:
        names = tar.getnames()
    assert names[0] == f"{incident}/incident.json"
    assert names[1].endswith(".log")
    assert [path.name for path in tmp_path.iterdir()] == [f"{incident}.tar"]


def test_a_log_that_is_fetched_alone_is_called_one(fodc, incident, tmp_path):
    shown = json.loads(fodc("incidents", "show", incident, "-o", "json").out)
    (log,) = (one["artifact"] for one in shown["artifacts"] if one["profile"] == "log")

    path = fodc("artifacts", "get", log["artifact_id"], "--output-dir", tmp_path).out.strip()

    assert path.endswith(".log")


def test_get_twice_keeps_one_file(fodc, incident, tmp_path):
    fodc("incidents", "get", incident, "--output-dir", tmp_path)
    fodc("incidents", "get", incident, "--output-dir", tmp_path)

    assert len(list(tmp_path.iterdir())) == 1


def test_get_keeps_nothing_of_a_bundle_that_was_cut(fodc, incident, relay, tmp_path):
    relay.cuts = [2000]

    ran = fodc("incidents", "get", incident, "--output-dir", tmp_path)

    assert ran.code != 0
    assert list(tmp_path.iterdir()) == []


def test_get_keeps_nothing_of_a_bundle_that_was_altered(fodc, incident, relay, tmp_path):
    relay.altered = lambda _path, body: body.replace(b"out of memory", b"out of wisdom")

    ran = fodc("incidents", "get", incident, "--output-dir", tmp_path)

    assert ran.code == 1
    assert "is not what its manifest says; nothing was kept" in ran.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", ["show", "get"])
def test_one_that_is_not_there_is_not_found(fodc, verb, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = fodc("incidents", verb, "inc-nope")

    assert ran.code == 4
    assert ran.err == "fodc: incident inc-nope does not exist (any more)\n"


def test_get_of_several_fetches_those_that_are_there(fodc, incident, tmp_path):
    ran = fodc("incidents", "get", "inc-nope", incident, "--output-dir", tmp_path, "-o", "json")

    assert ran.code == 5
    (file,) = json.loads(ran.out)["files"]
    assert file["artifacts"] == 1
