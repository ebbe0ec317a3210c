# SPDX-License-Identifier: Apache-2.0
"""Links to one artifact and sessions of browsers, over real sockets, and how they are abused."""

import asyncio
import hashlib
import json

import aiohttp

from fodc_api.access import MAX_LINK_S
from fodc_protocol.artifacts import Manifest
from fodc_proxy.access.callers import Caller, Method
from fodc_proxy.access.links import MAX_LASTS_S, Link, Links
from fodc_proxy.access.sessions import LASTS_S, Sessions
from fodc_proxy.access.settings import AccessSettings

from ..live import Reply, running, until  # noqa: TID252 - one folder's tests

CONTENT = b"what was captured"
PROFILER = "the-token-of-a-profiler"
VIEWER = "the-token-of-a-viewer"
NOW_MS = 1_800_000_000_000


class Asking:
    """One browser or command: its cookies, and a token when it is given one."""

    def __init__(self, proxy, token=""):
        told = {"Authorization": f"Bearer {token}"} if token else {}
        jar = aiohttp.CookieJar(unsafe=True)
        self.base = f"http://{proxy.http_address}"
        self.session = aiohttp.ClientSession(headers=told, cookie_jar=jar)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.session.close()

    async def ask(self, method, path, *, body=None, **headers):
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.request(
            method, self.base + path, json=body, headers=told
        ) as answer:
            return Reply(answer.status, dict(answer.headers), await answer.text())


def played(tmp_path, scene):
    tokens = tmp_path / "tokens"
    tokens.write_text(f"anna profiler {PROFILER}\nvera viewer {VIEWER}\n")
    audit = tmp_path / "audit"
    access = AccessSettings(tokens_file=str(tokens), audit_log=str(audit))

    async def run():
        async with running(tmp_path, access=access) as proxy:
            for name in ("art-1", "art-2"):
                content = tmp_path / "content"
                content.write_bytes(CONTENT)
                sha256 = hashlib.sha256(CONTENT).hexdigest()
                about = (name, "r1", f"cmd-{name}", "data-0", "data-0", "ROLE_DATA", "cpu", "pprof")
                manifest = Manifest(*about, len(CONTENT), sha256, 1, 0, 0, 0)
                await proxy.diagnostics.store.commit(manifest, content)
            return await scene(proxy)

    return asyncio.run(run())


# ---- links ------------------------------------------------------------------------------------


def test_whoever_has_a_link_reads_that_artifact_and_nothing_else(tmp_path):
    async def scene(proxy):
        async with Asking(proxy, PROFILER) as anna, Asking(proxy) as nobody:
            made = await anna.ask("POST", "/artifacts/art-1/links", body={"lasts_seconds": 60})
            path = json.loads(made.text)["path"]
            query = path.partition("?")[2]
            read = await nobody.ask("GET", path)
            again = await nobody.ask("GET", path, Range="bytes=5-7")
            others = [
                await nobody.ask(method, f"{where}?{query}")
                for method, where in (
                    ("GET", "/artifacts/art-2"),
                    ("GET", "/artifacts/art-1/manifest"),
                    ("DELETE", "/artifacts/art-1"),
                    ("GET", "/artifacts"),
                    ("GET", "/cluster"),
                )
            ]
            foreign = await nobody.ask("GET", path, Origin="https://evil.example")
            return made, read, again, others, foreign

    made, read, again, others, foreign = played(tmp_path, scene)
    assert made.status == 201
    assert json.loads(made.text)["once"] is False
    assert (read.status, read.text) == (200, CONTENT.decode())
    assert (again.status, again.text) == (206, "was")
    assert [one.status for one in others] == [403, 401, 401, 401, 401]
    assert foreign.status == 403
    lines = [json.loads(line) for line in (tmp_path / "audit").read_text().splitlines()]
    reads = [(one["authenticated"], one["caller"], one["status"]) for one in lines[1:3]]
    assert reads == [("link", "anna", 200), ("link", "anna", 206)]


def test_an_altered_link_is_refused_whatever_was_altered(tmp_path):
    async def scene(proxy):
        async with Asking(proxy, PROFILER) as anna, Asking(proxy) as nobody:
            made = await anna.ask("POST", "/artifacts/art-1/links", body={})
            path, _, link = json.loads(made.text)["path"].partition("?link=")
            body, _, signature = link.partition(".")
            flipped = ("B" if body[9] == "A" else "A").join((body[:9], body[10:]))
            wrong = ["", "x", f"{flipped}.{signature}", f"{body}.", f".{signature}", f"{body}"]
            wrong += [f"{link}=", f"{link}A", f"{body}.{signature[:-4]}AAAA", link.upper()]
            return [await nobody.ask("GET", f"{path}?link={one}") for one in wrong]

    for answer in played(tmp_path, scene):
        assert answer.status == 403
        assert "the link is altered" in answer.text


def test_a_link_for_one_use_is_used_up_by_the_first_download(tmp_path):
    async def scene(proxy):
        async with Asking(proxy, PROFILER) as anna, Asking(proxy) as nobody:
            made = await anna.ask("POST", "/artifacts/art-1/links", body={"once": True})
            path = json.loads(made.text)["path"]
            asked = [await nobody.ask(method, path) for method in ("HEAD", "GET", "GET", "HEAD")]
            return asked, proxy.door.refused

    asked, refused = played(tmp_path, scene)
    assert [one.status for one in asked] == [200, 200, 403, 403]
    assert "has been used" in asked[2].text
    assert refused["WrongLink"] == 2


def test_who_may_not_read_makes_no_link_and_no_link_lasts_longer_than_15_minutes(tmp_path):
    async def scene(proxy):
        async with Asking(proxy, PROFILER) as anna, Asking(proxy, VIEWER) as vera:
            path = "/artifacts/art-1/links"
            return (
                await vera.ask("POST", path, body={}),
                await anna.ask("POST", path, body={"lasts_seconds": 901}),
                await anna.ask("POST", "/artifacts/absent/links", body={}),
            )

    viewer, long, absent = played(tmp_path, scene)
    assert (viewer.status, long.status, absent.status) == (403, 400, 404)
    assert MAX_LINK_S == MAX_LASTS_S == 15 * 60


def test_a_link_ends_with_its_time_and_with_the_life_of_the_proxy():
    link = Link("art-1", "anna", NOW_MS + 1000, "n1", is_for_once=False)
    links = Links(b"k" * 32)
    text = links.made(link)
    assert links.read(text, "art-1", NOW_MS + 999, uses=True) == link
    assert "expired" in links.read(text, "art-1", NOW_MS + 1000, uses=True).reason
    assert "altered" in Links(b"j" * 32).read(text, "art-1", NOW_MS, uses=True).reason


def test_used_links_are_forgotten_when_they_have_expired():
    links = Links(b"k" * 32)
    for number in range(10_001):
        link = Link("art-1", "anna", NOW_MS + number + 1, f"n{number}", is_for_once=True)
        assert links.read(links.made(link), "art-1", NOW_MS + number, uses=True) == link


def test_a_link_of_a_long_name_in_any_script_can_be_read():
    links, name = Links(b"k" * 32), "\U00010400" * 256
    text = links.made(Link("a" * 128, name, NOW_MS + 1, "n" * 22, is_for_once=False))
    assert links.read(text, "a" * 128, NOW_MS, uses=True).maker == name
    strange = links.made(Link("a", "\ud800" * 300, NOW_MS + 1, "n", is_for_once=False))
    assert links.read(strange, "a", NOW_MS, uses=True).artifact_id == "a"


def test_whoever_uses_up_links_leaves_room_for_others():
    links = Links(b"k" * 32)

    def use(maker, number):
        link = Link("art-1", maker, NOW_MS + 900_000, f"{maker}-{number}", is_for_once=True)
        return links.read(links.made(link), "art-1", NOW_MS, uses=True)

    assert all(isinstance(use("flood", number), Link) for number in range(1_000))
    assert "too many" in use("flood", 1_000).reason
    assert isinstance(use("anna", 0), Link)
    assert "has been used" in use("anna", 0).reason


# ---- sessions ---------------------------------------------------------------------------------


def test_a_browser_asks_by_cookie_and_changes_only_with_the_second_secret(tmp_path):
    async def scene(proxy):
        async with Asking(proxy) as browser, Asking(proxy) as other:
            token = f"Bearer {PROFILER}"
            opened = await browser.ask("POST", "/session", Authorization=token)
            csrf = json.loads(opened.text)["csrf_token"]
            seen = await browser.ask("GET", "/cluster")
            told = await browser.ask("GET", "/session")
            body = {"target": {"all": True}, "captures": [{"profile": "cpu"}]}
            path = "/diagnostics/requests"
            without = await browser.ask("POST", path, body=body)
            wrong = await browser.ask("POST", path, body=body, X_CSRF_Token="x")
            good = await browser.ask("POST", path, body=body, X_CSRF_Token=csrf)
            foreign = await browser.ask(
                "POST", path, body=body, X_CSRF_Token=csrf, Origin="https://evil.example"
            )
            await other.ask("GET", "/cluster", Cookie="fodc-session=made-up")
            renewed = await browser.ask("POST", "/session", X_CSRF_Token=csrf)
            odd = await browser.ask("POST", path, body=body, X_CSRF_Token="\udcff\udcfe")
            left = await browser.ask("DELETE", "/session", X_CSRF_Token=csrf)
            after = await browser.ask("GET", "/cluster")
            assert (renewed.status, odd.status) == (403, 403)
            assert "is begun with a token" in renewed.text
            return opened, seen, told, without, wrong, good, foreign, left, after, proxy.door

    opened, seen, told, without, wrong, good, foreign, left, after, door = played(tmp_path, scene)
    cookie = opened.headers["Set-Cookie"]
    assert opened.status == 201
    assert {"HttpOnly", "SameSite=Strict", "Path=/", f"Max-Age={LASTS_S}"} <= set(
        cookie.split("; ")
    )
    assert (seen.status, told.status) == (200, 200)
    assert json.loads(told.text)["caller"] == "anna"
    assert json.loads(told.text)["csrf_token"] == json.loads(opened.text)["csrf_token"]
    assert (without.status, wrong.status, good.status, foreign.status) == (403, 403, 201, 403)
    assert "X-CSRF-Token is missing or wrong" in without.text
    assert (left.status, after.status) == (204, 401)
    assert (door.refused["NoCsrfToken"], door.refused["ForeignOrigin"], len(door.sessions)) == (
        *(3, 1),
        0,
    )


def test_a_session_has_the_rights_of_its_caller_and_no_more(tmp_path):
    async def scene(proxy):
        async with Asking(proxy) as browser:
            opened = await browser.ask("POST", "/session", Authorization=f"Bearer {VIEWER}")
            csrf = json.loads(opened.text)["csrf_token"]
            return (
                await browser.ask("GET", "/artifacts"),
                await browser.ask("DELETE", "/artifacts/art-1", X_CSRF_Token=csrf),
            )

    assert [one.status for one in played(tmp_path, scene)] == [403, 403]


def test_a_token_wins_over_a_cookie_and_says_who_asks(tmp_path):
    async def scene(proxy):
        async with Asking(proxy) as browser:
            await browser.ask("POST", "/session", Authorization=f"Bearer {VIEWER}")
            return await browser.ask("GET", "/session", Authorization=f"Bearer {PROFILER}")

    told = json.loads(played(tmp_path, scene).text)
    assert told == {
        "caller": "anna",
        "authenticated": "token-file",
        "roles": ["profiler"],
        "csrf_token": "",
        "expires_at": None,
    }


def test_sessions_end_with_time_and_each_caller_has_a_few():
    sessions = Sessions()
    anna, bert = (Caller(name, Method.OIDC) for name in ("anna", "bert"))
    sessions.open("b", "x", bert, NOW_MS)
    for number in range(40):
        sessions.open(f"a{number}", "x", anna, NOW_MS)
    assert len(sessions) == 17
    assert sessions.find("a23", NOW_MS) is None
    assert sessions.find("a24", NOW_MS) is not None
    assert sessions.find("b", NOW_MS).caller == bert
    assert sessions.find("b", NOW_MS + LASTS_S * 1000) is None
    for number in range(1_100):
        sessions.open(f"c{number}", "x", Caller(f"c{number}", Method.OIDC), NOW_MS)
    assert len(sessions) == 1_000


def test_the_audit_has_every_session_and_none_of_its_secrets(tmp_path):
    async def scene(proxy):
        async with Asking(proxy) as browser:
            opened = await browser.ask("POST", "/session", Authorization=f"Bearer {VIEWER}")
            await until(lambda: proxy.audit.written == 1)
            return opened

    opened = played(tmp_path, scene)
    text = (tmp_path / "audit").read_text()
    cookie = opened.headers["Set-Cookie"].partition("=")[2].partition(";")[0]
    assert json.loads(text)["audit"] == "openSession"
    assert not any(
        secret in text for secret in (cookie, json.loads(opened.text)["csrf_token"], VIEWER)
    )
