# SPDX-License-Identifier: Apache-2.0
"""The audit: one line per deed, bounded, never a secret; a disk that is full costs lines only."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from fodc_proxy.access.audit import Deed, line_of
from fodc_proxy.access.audit_log import AuditLog
from fodc_proxy.access.callers import Caller, Method
from fodc_proxy.access.settings import AccessSettings

from ..live import LinkAgent, fetch, running, until  # noqa: TID252 - one folder's tests

ANNA = Caller("anna", Method.TOKEN_FILE)
TOKEN = "the-token-of-an-admin"


def deed(**told):
    usual = {"time_ms": 0, "request_id": "r1", "caller": ANNA, "peer": "10.0.0.1"}
    return Deed(**{**usual, "action": "removeArtifact", "status": 204, **told})


def test_a_line_says_who_how_what_and_with_which_result():
    line = line_of(deed(about={"object": "art-1", "nodes": ["n1", "n2"]}))
    assert line.endswith(b"\n")
    assert json.loads(line) == {
        "time": "1970-01-01T00:00:00Z",
        "audit": "removeArtifact",
        "caller": "anna",
        "authenticated": "token-file",
        "peer": "10.0.0.1",
        "status": 204,
        "request_id": "r1",
        "object": "art-1",
        "nodes": ["n1", "n2"],
    }


def test_what_is_too_long_is_cut_and_stays_one_line():
    nodes = [f"node-{number}" for number in range(100)]
    caller = Caller("a\n" * 5_000, Method.OIDC)
    line = line_of(deed(caller=caller, about={"object": "x" * 10_000, "nodes": nodes}))
    told = json.loads(line)
    assert len(line) < 4_000
    assert line.count(b"\n") == 1
    assert told["object"] == "x" * 256 + "…"
    assert told["nodes"][-1] == "and 84 more"


def test_a_file_that_was_moved_away_is_made_anew(tmp_path):
    path = tmp_path / "audit"
    audit = AuditLog(str(path))
    audit.start()
    audit.note(deed(request_id="before"))
    _written(audit, 1)
    path.rename(tmp_path / "audit.1")
    audit.note(deed(request_id="after"))
    audit.stop()
    assert b"before" in (tmp_path / "audit.1").read_bytes()
    assert b"after" in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600


def _written(audit, number):
    async def wait():
        await until(lambda: audit.written >= number)

    asyncio.run(wait())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_told_with_what_was_lost(caplog):
    audit = AuditLog("/dev/full")
    audit.start()
    audit.note(deed())
    audit.note(deed())
    audit.stop()
    assert audit.lost == 2
    assert str(audit) == "DOES NOT WORK: /dev/full: no space left on device; 2 lines were lost"
    assert caplog.text.count("cannot be written: no space left on device") == 1


def test_a_pipe_that_nobody_reads_stops_nothing(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    audit = AuditLog(str(path))
    audit.start()
    for _ in range(3_000):
        audit.note(deed(about={"object": "x" * 200}))
    assert audit.lost > 0
    assert "lines come faster than they can be written" in str(audit)
    os.close(reader)
    audit.stop()


def test_a_file_that_cannot_be_made_ends_the_program_with_its_name(tmp_path):
    command = [sys.executable, "-m", "fodc_proxy", "--http-listen-addr=127.0.0.1:0"]
    command += ["--grpc-listen-addr=127.0.0.1:0", f"--audit-log={tmp_path}/absent/audit"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert told.returncode == 1
    assert f"{tmp_path}/absent/audit" in told.stderr.splitlines()[-1]


# ---- over sockets -----------------------------------------------------------------------------


def test_changes_and_reads_of_artifacts_are_written_and_refusals_too(tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text(f"anna admin {TOKEN}\nvera viewer the-token-of-a-viewer\n")
    path = tmp_path / "audit"
    access = AccessSettings(tokens_file=str(tokens), audit_log=str(path))
    body = '{"target": {"all": true}, "captures": [{"profile": "cpu"}], "purpose": "my-secret"}'

    async def run():
        async with running(tmp_path, access=access) as proxy, LinkAgent(proxy, "data-0"):
            for token in (TOKEN, "the-token-of-a-viewer", "a-token-of-nobody-at-all"):
                headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
                await fetch(proxy, "/cluster", **headers)
                answer = await post(proxy, "/diagnostics/requests", body, headers)
                await fetch(proxy, "/artifacts/absent", "HEAD", **headers)
                await fetch(proxy, "/artifacts/absent", **headers)
            await until(lambda: proxy.audit.written == 8)
        return answer

    last = asyncio.run(run())
    text = path.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [(line["audit"], line["caller"], line["status"]) for line in lines] == [
        ("createDiagnosticRequest", "anna", 201),
        ("downloadArtifact", "anna", 404),
        ("createDiagnosticRequest", "vera", 403),
        ("downloadArtifact", "vera", 403),  # a HEAD that was refused
        ("downloadArtifact", "vera", 403),
        ("createDiagnosticRequest", "nobody", 401),
        ("downloadArtifact", "nobody", 401),
        ("downloadArtifact", "nobody", 401),
    ]
    assert lines[0]["nodes"] == ["data-0"]
    assert lines[0]["profiles"] == ["cpu"]
    assert lines[1]["object"] == "absent"
    assert last.headers["X-Request-Id"] == lines[5]["request_id"]
    assert not any(word in text for word in (TOKEN, "the-token", "a-token", "my-secret"))


async def post(proxy, path, body, headers):
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"http://{proxy.http_address}{path}", data=body) as answer,
    ):
        await answer.read()
        return answer


def test_every_answer_tells_a_browser_to_run_and_frame_nothing(tmp_path):
    async def run():
        async with running(tmp_path) as proxy:
            paths = ("/cluster", "/metrics", "/absent", "/healthz", "/artifacts/absent")
            return [await fetch(proxy, path) for path in paths]

    for answer in asyncio.run(run()):
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "Access-Control-Allow-Origin" not in answer.headers
