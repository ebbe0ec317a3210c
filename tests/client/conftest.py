# SPDX-License-Identifier: Apache-2.0
"""A proxy on loopback that speaks the HTTP interface from a script, and ways to run `fodc`."""

import asyncio
import base64
import copy
import hashlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from fodc_client.__main__ import main

DATA = Path(__file__).parent.parent / "data" / "pprof"
RECORDED = {
    "cpu": "profile-5s.pb.gz",
    "heap": "heap.pb.gz",
    "goroutine": "goroutine.pb.gz",
    "block": "block.pb.gz",
    "threadcreate": "threadcreate.pb.gz",
}


def recorded(profile):
    return (DATA / RECORDED[profile]).read_bytes()


def node(name="data-0", **changes):
    return {
        "node_id": name,
        "agent_id": f"agent-{name}",
        "pod_name": name,
        "namespace": "banyandb",
        "role": "ROLE_DATA",
        "tier": "hot",
        "phase": "Online",
        "contract": "link",
        "agent_version": "0.1.0",
        "registered_at": "2026-11-21T07:00:00.000Z",
        "last_heartbeat_at": "2026-11-21T07:59:57.000Z",
        "heartbeat_age_seconds": 3.0,
        "labels": {},
        "container_names": ["data"],
        "addresses": [{"name": "grpc", "host": "10.0.0.7", "port": 17912}],
        "capabilities": [
            {"kind": "cpu", "state": "Supported", "reason": "", "message": ""},
            {"kind": "heap", "state": "Supported", "reason": "", "message": ""},
        ],
        "window": {
            "oldest": "2026-11-21T07:05:00.000Z",
            "newest": "2026-11-21T08:00:00.000Z",
            "series": 381,
            "bytes": 1048576,
        },
        "configuration_hash": "0123456789abcdef0123456789abcdef",
        "artifacts": {"count": 2, "bytes": 77824},
        "conditions": [],
        "active_captures": [],
        "reconnects": 1,
        "a_field_of_tomorrow": {"x": 1},
        **changes,
    }


def result(profile="cpu", phase="Running", **changes):
    return {
        "capture": profile,
        "profile": profile,
        "phase": phase,
        "reason": None,
        "message": None,
        "duration_seconds": 5.0 if profile in {"cpu", "trace"} else 0.0,
        "elapsed_seconds": 2.0,
        "received_bytes": 0,
        "size_bytes": None,
        "sha256": None,
        "samples": None,
        "format": "pprof",
        "artifact_id": None,
        "download_path": None,
        "empty": False,
        "truncated": False,
        "warnings": [],
        **changes,
    }


def stored(profile, content, artifact_id, **changes):
    """A result whose bytes lie in the proxy."""
    return result(
        profile,
        "Succeeded",
        elapsed_seconds=5.1,
        received_bytes=len(content),
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        samples=247,
        artifact_id=artifact_id,
        download_path=f"/artifacts/{artifact_id}",
        **changes,
    )


def target(name, phase, *results, **changes):
    return {
        "node_id": name,
        "agent_id": f"agent-{name}",
        "role": "ROLE_DATA",
        "phase": phase,
        "reason": None,
        "message": None,
        "attempts": 1,
        "started_at": "2026-11-21T07:06:39.000Z",
        "finished_at": None,
        "results": list(results),
        **changes,
    }


def request(revision, phase, *targets, profiles=("cpu",), **changes):
    phases = [each["phase"] for each in targets]
    counts = {
        "targets": len(targets),
        **{
            key: phases.count(key.capitalize())
            for key in ("pending", "running", "succeeded", "failed", "skipped", "cancelled")
        },
    }
    done = len(targets) - counts["pending"] - counts["running"]
    return {
        "id": "req-1",
        "revision": revision,
        "phase": phase,
        "reason": None,
        "message": None,
        "created_at": "2026-11-21T07:06:38.000Z",
        "started_at": "2026-11-21T07:06:39.000Z",
        "finished_at": None,
        "target": {"names": [each["node_id"] for each in targets]},
        "captures": [{"profile": profile} for profile in profiles],
        "execution": {"parallelism": 4},
        "requested_reason": "",
        "counts": counts,
        "progress": f"{done}/{len(targets)}",
        "targets": list(targets),
        **changes,
    }


@dataclass
class Gone:
    """A step of a script: the proxy stops listening for a while and drops its connections."""

    seconds: float = 0.4


@dataclass
class FakeProxy:
    """Everything it answers is an attribute; everything it was asked is in `asked`."""

    nodes: list = field(default_factory=lambda: [node("data-0"), node("data-1")])
    configuration: dict = field(default_factory=dict)
    windows: list = field(default_factory=list)
    window_headers: dict = field(default_factory=dict)
    checks: list = field(default_factory=lambda: [{"name": "grpc", "ok": True, "message": ""}])
    artifacts: dict = field(default_factory=dict)
    manifests: dict = field(default_factory=dict)
    steps: list = field(default_factory=list)
    aborted: list = field(default_factory=list)
    post_error: tuple = ()
    cut_after: dict = field(default_factory=dict)
    asked: list = field(default_factory=list)
    bodies: list = field(default_factory=list)
    url: str = ""

    def start(self):
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(ready,), name="fake-proxy")
        self._thread.start()
        assert ready.wait(10)

    def stop(self):
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _serve(self, ready):
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._begin())
        ready.set()
        self._loop.run_forever()

    async def _begin(self):
        app = web.Application(middlewares=[self._note])
        app.add_routes(
            [
                web.get("/cluster", self._cluster),
                web.get("/cluster/config", self._config),
                web.get("/metrics-windows", self._windows),
                web.post("/diagnostics/requests", self._create),
                web.get("/diagnostics/requests", self._list),
                web.get("/diagnostics/requests/{id}", self._poll),
                web.delete("/diagnostics/requests/{id}", self._cancel),
                web.get("/artifacts", self._artifacts),
                web.get("/artifacts/{id}", self._artifact),
                web.get("/artifacts/{id}/manifest", self._manifest),
                web.delete("/artifacts/{id}", self._delete),
                web.get("/readyz", self._ready),
                web.get("/version", self._version),
            ]
        )
        self._more = asyncio.Event()
        self._background = set()
        self._state = None
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        self._site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await self._site.start()
        self._port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self._port}"

    async def _end(self):
        for task in self._background:
            await task
        await self._runner.cleanup()

    async def _away(self, seconds):
        await self._site.stop()
        await asyncio.sleep(seconds)
        self._site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await self._site.start()

    @web.middleware
    async def _note(self, asked, handler):
        self.asked.append(f"{asked.method} {asked.path_qs}")
        return await handler(asked)

    # ---- requests

    async def _create(self, asked):
        body = await asked.json()
        self.bodies.append(body)
        if self.post_error:
            status, error = self.post_error
            return web.json_response({"error": error}, status=status)
        if self.steps and isinstance(self.steps[0], Gone):
            return self._vanish(asked, self.steps.pop(0).seconds)
        self._state = self.steps.pop(0)
        return web.json_response(self._state, status=201)

    async def _poll(self, asked):
        if self._state is None:
            if not self.steps:
                return _missing("request", asked.match_info["id"])
            self._state = self.steps.pop(0)
        if "after_revision" not in asked.query:
            return web.json_response(self._state)
        if self.steps and isinstance(self.steps[0], Gone):
            return self._vanish(asked, self.steps.pop(0).seconds)
        if self.steps and self.steps[0] == "forgotten":
            return _missing("request", asked.match_info["id"])
        if self.steps:
            self._state = self.steps.pop(0)
        elif self._state["revision"] <= int(asked.query["after_revision"]):
            self._more.clear()
            await self._more.wait()
        return web.json_response(self._state)

    def _vanish(self, asked, seconds):
        task = self._loop.create_task(self._away(seconds))
        self._background.add(task)
        asked.transport.abort()
        return web.Response()

    async def _cancel(self, asked):
        if self._state is None:
            return _missing("request", asked.match_info["id"])
        if self.aborted:
            self._state = self.aborted.pop(0)
            self.steps = list(self.aborted)
        self._more.set()
        return web.json_response(self._state, status=202)

    async def _list(self, asked):
        summaries = [{**each, "targets": []} for each in copy.deepcopy(self.steps)]
        return web.json_response({"requests": summaries})

    # ---- artifacts

    async def _artifacts(self, asked):
        rows = list(self.manifests.values())
        for key in ("node_id", "request_id", "profile"):
            if key in asked.query:
                rows = [row for row in rows if row[key] == asked.query[key]]
        return web.json_response({"artifacts": rows})

    async def _manifest(self, asked):
        key = asked.match_info["id"]
        if key not in self.manifests:
            return _missing("artifact", key)
        return web.json_response(self.manifests[key])

    async def _artifact(self, asked):
        key = asked.match_info["id"]
        if key not in self.artifacts:
            return _missing("artifact", key)
        content = self.artifacts[key]
        start = 0
        if found := re.fullmatch(r"bytes=(\d+)-", asked.headers.get("Range", "")):
            start = int(found[1])
        digest = hashlib.sha256(content).digest()
        answer = web.StreamResponse(
            status=206 if start else 200,
            headers={
                "Content-Length": str(len(content) - start),
                "ETag": f'"{digest.hex()}"',
                "Repr-Digest": f"sha-256=:{base64.b64encode(digest).decode()}:",
            },
        )
        await answer.prepare(asked)
        cuts = self.cut_after.get(key)
        if cuts:
            await answer.write(content[start : start + cuts.pop(0)])
            asked.transport.close()
            return answer
        await answer.write(content[start:])
        return answer

    async def _delete(self, asked):
        key = asked.match_info["id"]
        if self.manifests.pop(key, None) is None:
            return _missing("artifact", key)
        return web.Response(status=204)

    # ---- fleet

    async def _cluster(self, asked):
        rows = self.nodes
        if "role" in asked.query:
            rows = [row for row in rows if row["role"] in asked.query.getall("role")]
        if "node_id" in asked.query:
            rows = [row for row in rows if row["node_id"] in asked.query.getall("node_id")]
        phases = [row["phase"] for row in rows]
        return web.json_response(
            {
                "generated_at": "2026-11-21T08:00:00.000Z",
                "proxy": {"version": "0.1.0", "incarnation": "i", "uptime_seconds": 7200},
                "summary": {
                    "total": len(rows),
                    "online": phases.count("Online"),
                    "degraded": phases.count("Degraded"),
                    "offline": phases.count("Offline"),
                    "by_role": {"ROLE_DATA": len(rows)},
                },
                "nodes": rows,
            }
        )

    async def _config(self, asked):
        return web.json_response(self.configuration)

    async def _windows(self, asked):
        return web.json_response(self.windows, headers=self.window_headers)

    async def _ready(self, asked):
        ready = all(check["ok"] for check in self.checks)
        body = {"ready": ready, "checks": self.checks}
        return web.json_response(body, status=200 if ready else 503)

    async def _version(self, asked):
        return web.json_response({"version": "0.1.0"})


def _missing(what, key):
    error = {"reason": "NotFound", "message": f"no {what} {key!r}"}
    return web.json_response({"error": error}, status=404)


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


@pytest.fixture
def proxy():
    fake = FakeProxy()
    fake.start()
    yield fake
    fake.stop()


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch):
    for name in ("FODC_PROXY", "NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def fodc(capsys, proxy) -> Callable[..., Ran]:
    """Run the program in this process against the fake proxy."""

    def run(*argv):
        code = main([str(word) for word in argv] + ["--proxy", proxy.url])
        captured = capsys.readouterr()
        return Ran(int(code), captured.out, captured.err)

    return run


@pytest.fixture
def make():
    """The builders of what a proxy answers."""

    class Make:
        node = staticmethod(node)
        result = staticmethod(result)
        stored = staticmethod(stored)
        target = staticmethod(target)
        request = staticmethod(request)
        recorded = staticmethod(recorded)
        gone = Gone

    return Make


@pytest.fixture
def spawn(proxy, tmp_path):
    """Start the program as a process of its own; it is ended at the end of the test."""
    started = []

    def run(*argv, **more):
        environment = {**os.environ, "FODC_PROXY": proxy.url, **more.pop("env", {})}
        prefix = more.pop("prefix", [])
        command = [*prefix, sys.executable, "-m", "fodc_client", *[str(word) for word in argv]]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
        process = subprocess.Popen(command, env=environment, cwd=tmp_path, **streams)
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait(10)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
