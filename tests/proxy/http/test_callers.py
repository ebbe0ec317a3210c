# SPDX-License-Identifier: Apache-2.0
"""Who is let in, over real sockets: every row of the table, every way of being unknown."""

import asyncio
import json
import re
import socket

import aiohttp
import pytest

from fodc_api.words import Right
from fodc_protocol.options import Address
from fodc_proxy.access.roles import Role, holds
from fodc_proxy.access.settings import AccessSettings
from fodc_proxy.http.routes import Media
from fodc_proxy.http.table import ROUTES
from fodc_proxy.runtime import Proxy
from fodc_proxy.settings import Settings

from ..live import fetch, running  # noqa: TID252 - one folder's tests

TOKENS = {role: f"the-token-of-{role}" for role in Role}
GUARDED = [row for row in ROUTES if row.right is not Right.ANYBODY]


def bearer(role):
    return {"Authorization": f"Bearer {TOKENS[role]}"}


def asked(tmp_path, scene, **access):
    """Run a scene with a proxy that knows one caller per role."""
    path = tmp_path / "tokens"
    path.write_text("".join(f"{role}-1 {role} {token}\n" for role, token in TOKENS.items()))
    path.chmod(0o600)
    settings = AccessSettings(**(access or {"tokens_file": str(path)}))

    async def run():
        async with running(tmp_path, access=settings) as proxy:
            return await scene(proxy)

    return asyncio.run(run())


def path_of(row):
    return re.sub(r"{\w+}", "absent", row.path)


def test_every_change_and_every_route_that_gives_bytes_is_audited():
    def gives_bytes(row):
        bodies = (told.body for told in row.answers.values())
        return any(isinstance(body, Media) and body.is_binary for body in bodies)

    assert {row.name for row in ROUTES if gives_bytes(row) or row.method != "GET"} <= {
        row.name for row in ROUTES if row.is_audited
    }


def test_every_row_refuses_who_has_no_token_or_a_wrong_one(tmp_path):
    async def scene(proxy):
        for row in GUARDED:
            none = await fetch(proxy, path_of(row), row.method)
            wrong = await fetch(proxy, path_of(row), row.method, Authorization="Bearer nonsense")
            other = await fetch(proxy, path_of(row), row.method, Authorization="Basic YTpi")
            assert (none.status, wrong.status, other.status) == (401, 401, 401), row.path
            assert none.headers["WWW-Authenticate"] == 'Bearer realm="fodc"'
            assert wrong.headers["WWW-Authenticate"].endswith('error="invalid_token"')
            assert "nonsense" not in wrong.text
        return proxy.door.refused

    refused = asked(tmp_path, scene)
    assert refused["NoToken"] == len(GUARDED)
    assert refused["WrongToken"] == 2 * len(GUARDED)  # no bearer is a wrong one as well


def test_every_row_answers_exactly_the_roles_that_have_its_right(tmp_path):
    async def scene(proxy):
        for row in GUARDED:
            for role in Role:
                answer = await fetch(proxy, path_of(row), row.method, **bearer(role))
                is_refused = answer.status in {401, 403}
                assert is_refused is not holds({role}, row.right), (row.path, role, answer)

    asked(tmp_path, scene)


def test_a_refusal_names_the_right_the_role_and_who_grants_it(tmp_path):
    async def scene(proxy):
        return await fetch(proxy, "/artifacts", **bearer(Role.VIEWER))

    answer = asked(tmp_path, scene)
    assert answer.status == 403
    told = json.loads(answer.text)["error"]
    assert told["reason"] == "Forbidden"
    assert told["message"] == (
        "viewer-1 lacks the right artifacts (role profiler or more; roles now: viewer); "
        "whoever writes the file of --http-tokens-file grants it"
    )


async def post(proxy, body, **headers):
    url = f"http://{proxy.http_address}/diagnostics/requests"
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(url, json=body) as answer,
    ):
        return answer.status, await answer.json()


@pytest.mark.parametrize(
    ("profile", "role", "status"),
    [
        ("cpu", Role.VIEWER, 403),
        ("cpu", Role.PROFILER, 201),
        ("goroutine", Role.PROFILER, 201),
        ("heap", Role.VIEWER, 403),
        ("heap", Role.PROFILER, 403),
        ("heap", Role.ADMIN, 201),
        ("allocs", Role.PROFILER, 403),
        ("trace", Role.PROFILER, 403),
        ("trace", Role.ADMIN, 201),
    ],
)
def test_a_capture_asks_for_the_right_of_its_profile(tmp_path, profile, role, status):
    body = {"target": {"all": True}, "captures": [{"profile": profile}]}

    async def scene(proxy):
        got, told = await post(proxy, body, **bearer(role))
        callers = [one.caller for one in proxy.diagnostics.engine.select()]
        return got, told, callers

    got, told, callers = asked(tmp_path, scene)
    assert got == status, told
    assert callers == ([f"token-file:{role}-1"] if status == 201 else [])


def test_the_token_may_be_in_the_header_that_the_api_server_passes_on(tmp_path):
    async def scene(proxy):
        token = f"Bearer {TOKENS[Role.VIEWER]}"
        return await fetch(proxy, "/cluster", X_FODC_Authorization=token)

    assert asked(tmp_path, scene).status == 200


def test_probes_are_open_and_tell_no_secret(tmp_path):
    async def scene(proxy):
        paths = ("/healthz", "/readyz", "/version", "/health", "/openapi.json")
        return [await fetch(proxy, path) for path in paths]

    answers = asked(tmp_path, scene)
    assert [one.status for one in answers] == [200] * 5
    assert not any(token in one.text for one in answers for token in TOKENS.values())
    assert "callers need a token: 4 in --http-tokens-file" in answers[1].text


# ---- without a source -------------------------------------------------------------------------


def test_without_a_source_the_own_machine_is_let_in_and_nobody_who_is_passed_on(tmp_path):
    async def scene(proxy):
        plain = await fetch(proxy, "/cluster")
        named = await fetch(proxy, "/cluster", X_Forwarded_For="10.1.1.1")
        other = await fetch(proxy, "/cluster", X_Forwarded_Host="fodc.example")
        assert other.status == 401
        return plain, named, await fetch(proxy, "/readyz")

    plain, passed_on, ready = asked(tmp_path, scene, is_insecure=False)
    assert plain.status == 200
    assert passed_on.status == 401
    assert "--http-tokens-file lets others in" in passed_on.text
    assert "only callers of this machine are let in" in ready.text


def own_address():
    """An address of this machine that is none of loopback, None where there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return probe.getsockname()[0]


@pytest.mark.skipif(own_address() is None, reason="this machine has no address but loopback")
def test_without_a_source_others_are_not_let_in(tmp_path):
    async def run():
        everywhere = Address("", 0)
        proxy = Proxy(Settings(Address("127.0.0.1", 0), everywhere, data_dir=str(tmp_path)))
        await proxy.start()
        try:
            return await asyncio.to_thread(ask, int(proxy.http_address.rpartition(":")[2]))
        finally:
            await proxy.stop()

    def ask(port):
        with socket.create_connection((own_address(), port), 10) as caller:
            caller.sendall(b"GET /cluster HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return caller.makefile("rb").read()

    assert asyncio.run(run()).startswith(b"HTTP/1.1 401 ")


def test_turned_off_by_name_everybody_is_let_in_and_that_shows(tmp_path, caplog):
    async def scene(proxy):
        answer = await fetch(proxy, "/metrics", X_Forwarded_For="10.1.1.1")
        return answer, await fetch(proxy, "/readyz")

    page, ready = asked(tmp_path, scene, is_insecure=True)
    assert page.status == 200
    assert "fodc_proxy_http_insecure 1.0" in page.text
    assert "AUTHENTICATION IS OFF (--insecure-http)" in ready.text
    assert "AUTHENTICATION IS OFF" in caplog.text


# ---- pages of others --------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "::"])
def test_a_page_of_another_origin_is_refused_on_every_row(tmp_path, origin):
    async def scene(proxy):
        for row in GUARDED:
            answer = await fetch(proxy, path_of(row), row.method, Origin=origin)
            assert answer.status == 403, row.path
            assert "Origin" in answer.text
            assert "Access-Control-Allow-Origin" not in answer.headers

    asked(tmp_path, scene, is_insecure=True)


def test_a_page_without_an_origin_is_none_of_ours_either(tmp_path):
    """A frame in a sandbox says `null`, whatever host it asks."""

    async def scene(proxy):
        return await fetch(proxy, "/cluster", Origin="null", Host="null")

    assert asked(tmp_path, scene, is_insecure=True).status == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site", "anything"])
def test_what_a_browser_sends_for_another_site_is_refused_also_without_origin(tmp_path, site):
    async def scene(proxy):
        for row in GUARDED:
            told = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
            answer = await fetch(proxy, path_of(row), row.method, **told)
            assert answer.status == 403, row.path
            assert "Sec-Fetch-Site" in answer.text

    asked(tmp_path, scene, is_insecure=True)


@pytest.mark.parametrize(
    "told",
    [
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {
            "Sec-Fetch-Site": "cross-site",
            "Sec-Fetch-Mode": "navigate",
            "Sec-Fetch-Dest": "document",
        },
    ],
)
def test_the_own_page_and_a_link_that_somebody_follows_are_answered(tmp_path, told):
    async def scene(proxy):
        change = await fetch(proxy, "/diagnostics/requests", "POST", **told)
        return (await fetch(proxy, "/cluster", **told)).status, change.status

    read, changed = asked(tmp_path, scene, is_insecure=True)
    assert read == 200
    assert (changed == 403) is (told["Sec-Fetch-Site"] == "cross-site")


def test_a_page_of_the_own_origin_is_answered(tmp_path):
    async def scene(proxy):
        return await fetch(proxy, "/cluster", Origin=f"http://{proxy.http_address}")

    assert asked(tmp_path, scene, is_insecure=True).status == 200
