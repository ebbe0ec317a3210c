# SPDX-License-Identifier: Apache-2.0
"""Plain requests to an API server, for tests that look at literal answers.

The one idea: an answer is a status and a JSON body, whatever the status; nothing is retried.
"""

import http.client
import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

REQUEST_DEADLINE_S: Final = 20.0
MERGE_PATCH: Final = "application/merge-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and parsed body of one answer."""

    status: int
    body: Any

    @property
    def message(self) -> str:
        """The message of a refusal."""
        return str(self.body["message"])

    @property
    def causes(self) -> list[tuple[str, str]]:
        """Field and message of each cause of a refusal, in the server's order."""
        causes = self.body.get("details", {}).get("causes", [])
        return [(cause.get("field", ""), cause["message"]) for cause in causes]


@dataclass(frozen=True, slots=True)
class Api:
    """The API server as one user sees it."""

    url: str
    ca_file: Path
    token: str = field(repr=False)
    acting_as: str = ""
    group: str = ""

    def impersonating(self, user: str, group: str = "") -> "Api":
        """The same server as somebody else; the token's user must be allowed to impersonate."""
        return Api(self.url, self.ca_file, self.token, user, group)

    def get(self, path: str) -> Answer:
        """Read a resource, a list or a plain endpoint."""
        return self.send("GET", path)

    def create(self, path: str, resource: object) -> Answer:
        """POST a resource to its collection."""
        return self.send("POST", path, resource)

    def merge(self, path: str, patch: object) -> Answer:
        """PATCH by JSON merge patch: null removes a field."""
        return self.send("PATCH", path, patch, MERGE_PATCH)

    def delete(self, path: str) -> Answer:
        """DELETE a resource."""
        return self.send("DELETE", path)

    def send(
        self, method: str, path: str, body: object = None, content_type: str = "application/json"
    ) -> Answer:
        """Send one request; raises OSError when there is no answer."""
        request = urllib.request.Request(  # our own server over TLS
            self.url + quote(path, safe="/?&=,%!."),
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers=self._headers(content_type),
        )
        context = ssl.create_default_context(cafile=str(self.ca_file))
        try:
            with urllib.request.urlopen(
                request, timeout=REQUEST_DEADLINE_S, context=context
            ) as answer:
                return _answer(answer.status, answer)
        except urllib.error.HTTPError as error:
            with error:
                return _answer(error.code, error)

    def _headers(self, content_type: str) -> dict[str, str]:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": content_type}
        if self.acting_as:
            headers["Impersonate-User"] = self.acting_as
        if self.group:
            headers["Impersonate-Group"] = self.group
        return headers


def _answer(status: int, answer: http.client.HTTPResponse | urllib.error.HTTPError) -> Answer:
    text = answer.read().decode("utf-8", "replace")
    try:
        return Answer(status, json.loads(text))
    except ValueError:
        return Answer(status, text)
