# SPDX-License-Identifier: Apache-2.0
"""An issuer of OpenID Connect in this process, with the shapes that Keycloak 26 gives."""

import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

REALM = "/realms/ops"
AUDIENCE = "fodc"


def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def jwk_of(private: Any, key_id: str, **more: str) -> dict[str, Any]:
    """The public half, as a key set has it."""
    match private:
        case rsa.RSAPrivateKey():
            told = jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
        case ec.EllipticCurvePrivateKey():
            told = jwt.algorithms.ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
        case ed25519.Ed25519PrivateKey():
            told = jwt.algorithms.OKPAlgorithm.to_jwk(private.public_key(), as_dict=True)
    return {key: value for key, value in told.items() if key != "key_ops"} | {
        "kid": key_id,
        "use": "sig",
        **more,
    }


class OwnIssuer:
    """Serves discovery and keys; `keys` may change, `is_away` answers 503."""

    def __init__(self) -> None:
        self.private: Any = rsa_key()
        self.keys: list[dict[str, Any]] = [jwk_of(self.private, "k1", alg="RS256")]
        self.url = ""
        self.named = ""
        self.fetches = 0
        self.is_away = False

    def claims(self, **more: object) -> dict[str, object]:
        """What an access token of Keycloak has for somebody without roles."""
        now_s = int(time.time())
        usual = {
            "exp": now_s + 300,
            "iat": now_s,
            "jti": "onrtac:1f5b",
            "iss": self.url,
            "aud": [AUDIENCE, "account"],
            "sub": "7b9c5d1e-0000-4000-8000-000000000001",
            "typ": "Bearer",
            "azp": "fodc-cli",
            "sid": "aaaa",
            "acr": "1",
            "realm_access": {"roles": ["offline_access", "default-roles-ops", "admin"]},
            "resource_access": {"account": {"roles": ["manage-account"]}},
            "scope": "openid profile email",
            "preferred_username": "anna",
        }
        return {key: value for key, value in {**usual, **more}.items() if value is not None}

    def token(self, key_id: str | None = "k1", algorithm: str = "RS256", **claims: object) -> str:
        headers = {} if key_id is None else {"kid": key_id}
        return jwt.encode(self.claims(**claims), self.private, algorithm, headers)

    async def discovery(self, _request: web.Request) -> web.Response:
        self.fetches += 1
        if self.is_away:
            return web.Response(status=503)
        certs = f"{self.url}/protocol/openid-connect/certs"
        return web.json_response({"issuer": self.named or self.url, "jwks_uri": certs})

    async def certs(self, _request: web.Request) -> web.Response:
        return web.Response(text=json.dumps({"keys": self.keys}), content_type="application/json")


@contextlib.asynccontextmanager
async def issuing() -> AsyncIterator[OwnIssuer]:
    """Own an issuer for a with-block."""
    issuer = OwnIssuer()
    app = web.Application()
    app.router.add_get(f"{REALM}/.well-known/openid-configuration", issuer.discovery)
    app.router.add_get(f"{REALM}/protocol/openid-connect/certs", issuer.certs)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    issuer.url = f"http://127.0.0.1:{runner.addresses[0][1]}{REALM}"
    try:
        yield issuer
    finally:
        await runner.cleanup()
