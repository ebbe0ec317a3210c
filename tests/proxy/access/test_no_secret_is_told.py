# SPDX-License-Identifier: Apache-2.0
"""Secrets go in by every way that takes one, right and wrong, and come out nowhere."""

import asyncio
import json
import logging
import re

import aiohttp

from fodc_proxy.access.answers import Away, Denied
from fodc_proxy.access.oidc.claims import Issuer
from fodc_proxy.access.settings import AccessSettings
from fodc_proxy.access.token_reviews import Reviewed
from fodc_proxy.hosting import Host
from fodc_proxy.http.table import ROUTES
from fodc_proxy.runtime import Proxy
from fodc_proxy.settings import Settings

from ..live import ANYWHERE, until  # noqa: TID252 - one folder's tests
from .issuer import AUDIENCE, issuing

GOOD = "good-token-of-anna-5e1c"
WRONG = "wrong-token-of-nobody-77aa"
IN_CLUSTER = "token-of-the-cluster-c0de"
WHILE_AWAY = "token-while-away-ab12"
COOKIE = "cookie-that-is-made-up-9f9f"
CSRF = "csrf-that-is-made-up-3b3b"
LINK = "link-that-is-made-up-8d8d"


class ApiServer:
    """Knows one token, is away for another, and repeats none in its words."""

    async def review(self, token, *_more):
        if token == WHILE_AWAY:
            return Away("the API server is away")
        return Reviewed("carla") if token == IN_CLUSTER else Denied("the token is not valid")


class NobodyMay:
    async def review(self, caller, right, namespace):
        return Denied(f"{caller.name} lacks {right}")


def ways(oidc, expired):
    """Headers and cookies by which somebody may show a secret."""
    tokens = (GOOD, WRONG, IN_CLUSTER, WHILE_AWAY, oidc, expired, oidc[:-9] + "AAAAAAAAA")
    for token in tokens:
        yield {"Authorization": f"Bearer {token}"}
        yield {"X-FODC-Authorization": f"Bearer {token}", "Authorization": "Bearer " + WRONG}
    yield {"Authorization": f"Basic {WRONG}"}
    yield {"Authorization": WRONG}
    yield {"Authorization": f"Bearer {WRONG} {WRONG}"}
    yield {"Cookie": f"fodc-session={COOKIE}", "X-CSRF-Token": CSRF}
    yield {"Proxy-Authorization": f"Basic {WRONG}", "X-Api-Key": WRONG}


async def every_way(proxy, oidc, expired):
    """Ask every route in every way; return what was answered, heads too."""
    said = []
    body = {"target": {"all": True}, "captures": [{"profile": "cpu"}]}
    async with aiohttp.ClientSession(f"http://{proxy.http_address}") as session:
        for row in ROUTES:
            for headers in ways(oidc, expired):
                path = re.sub(r"{\w+}", "absent", row.path)
                query = {"link": LINK} if row.takes_link else {}
                async with session.request(
                    row.method,
                    path,
                    headers=headers,
                    params=query,
                    json=body if row.body is not None else None,
                ) as answer:
                    said.append(f"{answer.headers}{await answer.text()}")
    return said


async def browsing(proxy):
    """Open a session and make a link; return the answers, and the secrets that are in them."""
    token = {"Authorization": f"Bearer {GOOD}"}
    async with aiohttp.ClientSession(f"http://{proxy.http_address}") as session:
        async with session.post("/session", headers=token) as answer:
            csrf = (await answer.json())["csrf_token"]
            cookie = answer.headers["Set-Cookie"].partition("=")[2].partition(";")[0]
        told = {"Cookie": f"fodc-session={cookie}"}
        async with session.delete(
            "/artifacts/absent", headers={**told, "X-CSRF-Token": "x" + csrf}
        ):
            pass
        async with session.delete("/artifacts/absent", headers={**told, "X-CSRF-Token": csrf}):
            pass
    return [cookie, csrf]


def test_no_credential_is_in_logs_audit_metrics_readiness_or_answers(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    tokens = tmp_path / "tokens"
    tokens.write_text(f"anna admin {GOOD}\n")
    audit = tmp_path / "audit"

    async def run():
        async with issuing() as issuer:
            access = AccessSettings(
                str(tokens), audit_log=str(audit), issuer=Issuer(issuer.url, AUDIENCE)
            )
            settings = Settings(ANYWHERE, ANYWHERE, data_dir=str(tmp_path / "data"), access=access)
            proxy = Proxy(settings, Host(token_reviewer=ApiServer(), access_reviewer=NobodyMay()))
            await proxy.start()
            try:
                oidc = issuer.token(roles=["fodc-admin"])
                expired = issuer.token(exp=1)
                told = await every_way(proxy, oidc, expired)
                made = await browsing(proxy)
                waits = proxy.audit.written
                await until(lambda: proxy.audit.written >= waits and not proxy.audit.fault)
                told.append(proxy.telemetry.page().decode())
                told.append(repr(proxy.ready_checks()))
                told.append(repr(settings) + repr(proxy.door) + str(proxy.door))
                return told, [oidc, expired, *made]
            finally:
                await proxy.stop()

    told, made = asyncio.run(run())
    lines = audit.read_text()
    everything = "\n".join([*told, caplog.text, lines])
    secrets = [GOOD, WRONG, IN_CLUSTER, WHILE_AWAY, COOKIE, CSRF, LINK, *made]
    assert [secret for secret in secrets if secret in everything] == []
    # It would have been seen: each way was gone, and ended as it should.
    assert {json.loads(line)["status"] for line in lines.splitlines()} >= {401, 403, 404, 503}
    assert {json.loads(line)["caller"] for line in lines.splitlines()} >= {
        "anna",
        "carla",
        "nobody",
    }
    files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    kept = b"\n".join(path.read_bytes() for path in files)
    assert [secret for secret in secrets if secret.encode() in kept] == []
