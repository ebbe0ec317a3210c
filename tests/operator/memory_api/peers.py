# SPDX-License-Identifier: Apache-2.0
"""An API server to send plain requests to: the one in memory, or a real one.

The one idea: the contract suite does not know which of the two answers.
"""

import asyncio
import contextlib
import json
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.operator.memory_api.server import GROUP, MemoryApi, serving
from tests.operator.memory_api.store import MERGE_PATCH

DEADLINE_S = 10.0


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any

    @property
    def meta(self) -> dict[str, Any]:
        return self.body["metadata"]

    @property
    def reason(self) -> str:
        return self.body["reason"]


@dataclass(frozen=True)
class Peer:
    """One API server and a namespace in it that no other test uses."""

    url: str
    namespace: str
    token: str = ""
    context: ssl.SSLContext | None = None

    def path(
        self, name: str = "", subresource: str = "", plural: str = "diagnosticrequests"
    ) -> str:
        parts = [f"/apis/{GROUP}/v1alpha1/namespaces/{self.namespace}/{plural}", name, subresource]
        return "/".join(part for part in parts if part)

    def create(self, **metadata: Any) -> Answer:
        return self.send("POST", self.path(), a_request(**metadata))

    def get(self, name: str) -> Answer:
        return self.send("GET", self.path(name))

    def merge(self, name: str, patch: Any, subresource: str = "") -> Answer:
        return self.send("PATCH", self.path(name, subresource), patch, MERGE_PATCH)

    def delete(self, name: str, options: Any = None) -> Answer:
        return self.send("DELETE", self.path(name), options)

    def listed(self, query: str = "") -> Answer:
        return self.send("GET", f"{self.path()}?{query}")

    def send(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json"
    ) -> Answer:
        with self._open(method, path, body, content_type) as answer:
            return Answer(answer.status, json.loads(answer.read()))

    def watch(self, version: str, events: int) -> list[dict[str, Any]]:
        """The next events after a version; fewer when the server ends the watch after 2 s."""
        query = f"watch=true&resourceVersion={version}&timeoutSeconds=2"
        found = []
        with self._open("GET", f"{self.path()}?{query}", None, "application/json") as answer:
            if answer.status != 200:
                return [{"type": "ERROR", "object": json.loads(answer.read())}]
            for line in answer:
                found.append(json.loads(line))
                if len(found) == events:
                    break
        return found

    def _open(self, method: str, path: str, body: Any, content_type: str) -> Any:
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": content_type, "Authorization": f"Bearer {self.token}"},
        )
        try:
            return urllib.request.urlopen(request, timeout=DEADLINE_S, context=self.context)
        except urllib.error.HTTPError as error:
            return error


def a_request(**metadata: Any) -> dict[str, Any]:
    """A DiagnosticRequest that any schema of ours takes."""
    return {
        "apiVersion": f"{GROUP}/v1alpha1",
        "kind": "DiagnosticRequest",
        "metadata": metadata,
        "spec": {"target": {"names": ["pod-0"]}, "captures": [{"type": "CPUProfile"}]},
    }


@contextlib.contextmanager
def hosted_in_a_thread() -> Iterator[tuple[MemoryApi, str]]:
    """The memory API in a loop of its own, for callers that block."""
    ready = threading.Event()
    told: list[Any] = []

    async def host() -> None:
        ended = asyncio.Event()
        async with serving() as (api, url):
            told.extend([asyncio.get_running_loop(), ended, api, url])
            ready.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: asyncio.run(host()), name="memory API")
    thread.start()
    assert ready.wait(DEADLINE_S)
    loop, ended, api, url = told
    try:
        yield api, url
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(DEADLINE_S)
