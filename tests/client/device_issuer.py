# SPDX-License-Identifier: Apache-2.0
"""An issuer with a device flow on a port of its own, with the shapes that Keycloak 26 gives."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt

from e2e.https_servers import QuietServer
from tests.proxy.access.issuer import AUDIENCE, REALM, jwk_of, rsa_key

DEVICE_CODE = "the-secret-device-code"
REFRESH = "the-refresh-token"


class DeviceIssuer:
    """`answers` are what polling is told before the tokens; what was asked is in `asked`."""

    def __init__(self) -> None:
        self.private = rsa_key()
        self.url = ""
        self.named = ""
        self.lasts_s = 300.0
        self.answers: list[tuple[int, dict[str, Any]]] = []
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.refuses_refresh = False
        self.has_device_flow = True
        self.device: dict[str, Any] = {}
        self.tokens: dict[str, Any] = {}
        self._count = 0

    def discovery(self) -> dict[str, str]:
        base = f"{self.url}/protocol/openid-connect"
        found = {
            "issuer": self.named or self.url,
            "jwks_uri": f"{base}/certs",
            "token_endpoint": f"{base}/token",
            "revocation_endpoint": f"{base}/revoke",
            "authorization_endpoint": f"{base}/auth",
        }
        device = {"device_authorization_endpoint": f"{base}/auth/device"}
        return found | (device if self.has_device_flow else {})

    def token(self) -> str:
        now_s = int(time.time())
        self._count += 1
        claims = {
            "iss": self.url,
            "aud": AUDIENCE,
            "exp": now_s + 300,
            "iat": now_s,
            "jti": f"token-{self._count}",
            "preferred_username": "anna",
            "realm_access": {"roles": ["fodc-viewer"]},
        }
        return jwt.encode(claims, self.private, "RS256", {"kid": "k1"})

    def answer(self, path: str, form: dict[str, str]) -> tuple[int, object]:
        self.asked.append((path, form))
        match path.removeprefix(REALM):
            case "/.well-known/openid-configuration":
                return 200, self.discovery()
            case "/protocol/openid-connect/certs":
                return 200, {"keys": [jwk_of(self.private, "k1", alg="RS256")]}
            case "/protocol/openid-connect/auth/device":
                return 200, self._device()
            case "/protocol/openid-connect/token":
                return self._token(form)
            case "/protocol/openid-connect/revoke":
                return 200, {}
            case _:
                return 404, {}

    def _device(self) -> dict[str, Any]:
        page = f"{self.url}/device"
        return {
            "device_code": DEVICE_CODE,
            "user_code": "WDJB-MJHT",
            "verification_uri": page,
            "verification_uri_complete": f"{page}?user_code=WDJB-MJHT",
            "expires_in": 600,
            "interval": 5,
            **self.device,
        }

    def _token(self, form: dict[str, str]) -> tuple[int, object]:
        if form["grant_type"] == "refresh_token" and self.refuses_refresh:
            return 400, {"error": "invalid_grant", "error_description": "Session not active"}
        if self.answers:
            return self.answers.pop(0)
        return 200, {
            "access_token": self.token(),
            "expires_in": self.lasts_s,
            "refresh_token": f"{REFRESH}-{self._count}",
            "token_type": "Bearer",
            **self.tokens,
        }


def pending(word: str = "authorization_pending") -> tuple[int, dict[str, Any]]:
    return 400, {"error": word, "error_description": "The authorization request is still pending"}


@contextmanager
def device_issuer() -> Iterator[DeviceIssuer]:
    """Own an issuer for a with-block."""
    issuer = DeviceIssuer()
    server = QuietServer(("127.0.0.1", 0), _handler(issuer.answer))
    issuer.url = f"http://127.0.0.1:{server.server_address[1]}{REALM}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(
    answer: Callable[[str, dict[str, str]], tuple[int, object]],
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._tell(*answer(urlsplit(self.path).path, {}))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            self._tell(*answer(urlsplit(self.path).path, form))

        def _tell(self, status: int, said: object) -> None:
            data = said if isinstance(said, bytes) else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
