# SPDX-License-Identifier: Apache-2.0
"""Each way in that is none, over real sockets: it is refused, counted and in the audit.

What a real API server says of tokens (another's, another audience's, those of deleted pods) is
tried in e2e/test_token_reviews.py and e2e/test_callers.py.
"""

import asyncio
import hashlib
import json
import time
from dataclasses import replace

import pytest

from fodc_protocol.artifacts import Manifest
from fodc_proxy.access.answers import Denied
from fodc_proxy.access.oidc.claims import Issuer
from fodc_proxy.access.settings import AccessSettings
from fodc_proxy.hosting import Host
from fodc_proxy.settings import AgentAccess

from ..http.test_links_and_sessions import Asking  # noqa: TID252 - one folder's tests
from ..live import GoAgent, LinkAgent, fetch, running, until  # noqa: TID252 - as above
from ..wire.test_who_may_come_in import Reviewer  # noqa: TID252 - as above
from .issuer import AUDIENCE, issuing

ADMIN, VIEWER = "the-token-of-an-admin", "the-token-of-a-viewer"
HEAP = {"target": {"all": True}, "captures": [{"profile": "heap"}]}
CPU = {"target": {"all": True}, "captures": [{"profile": "cpu"}]}
REQUESTS = "/diagnostics/requests"


def counted(page, family):
    """Return the figures of a family by the value of its one label."""
    lines = (line for line in page.splitlines() if line.startswith(f"{family}{{"))
    return {line.split('"')[1]: float(line.rsplit(" ", 1)[1]) for line in lines}


def lines_in(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


# ---- agents -----------------------------------------------------------------------------------


async def link(proxy, token="", **more):
    told = {"pod_uid": "u-0", "token": token, **more}
    async with LinkAgent(proxy, told.pop("pod_name", "data-0"), **told) as agent:
        return agent.welcome.refusal.reason


async def existing(proxy):
    async with GoAgent(proxy, "data-1") as agent:
        return (await agent.registration.code()).name


AGENTS = {
    "no token": (link, {}, "Unauthenticated", "NoCredentials", "nobody", 401),
    "forged pod name": (
        *(link, {"token": "t-data-1"}, "Forbidden", "OtherAgent"),
        *("pod banyandb/data-1 u-1", 403),
    ),
    "wrong audience": (
        *(link, {"token": "t-audience"}, "Unauthenticated", "BadToken", "nobody", 401),
    ),
    "expired": (link, {"token": "t-expired"}, "Unauthenticated", "BadToken", "nobody", 401),
    "another namespace": (
        *(link, {"token": "t-elsewhere"}, "Forbidden", "OtherAgent"),
        *("pod elsewhere/data-0 u-0", 403),
    ),
    "deleted pod": (link, {"token": "t-deleted"}, "Unauthenticated", "BadToken", "nobody", 401),
    "legacy agent of an authenticated pod": (
        *(existing, {}, "PERMISSION_DENIED", "Claimed", "nobody", 403),
    ),
}


@pytest.mark.parametrize("case", AGENTS)
def test_an_agent_that_may_not_come_in(tmp_path, case):
    play, told, answer, reason, caller, status = AGENTS[case]
    audit, tokens = tmp_path / "audit", tmp_path / "agents"
    tokens.write_text("rack-1 vm-0 s3cret-s3cret-s3cret\n")
    reviewer = Reviewer()
    reviewer.known["t-deleted"] = Denied("the token is not valid: the pod is gone")
    given = {
        "agents": AgentAccess(str(tokens), legacy="allow"),
        "access": AccessSettings(is_insecure=True, audit_log=str(audit)),
        "host": Host(token_reviewer=reviewer),
    }

    async def run():
        async with (
            running(tmp_path, **given) as proxy,
            # The one whose pod others may want.
            LinkAgent(proxy, "data-1", pod_uid="u-1", token="t-data-1"),
        ):
            said = await play(proxy, **told)
            page = (await fetch(proxy, "/metrics")).text
            await until(lambda: proxy.audit.written)
            return said, page, [one.pod_name for one in proxy.registry.members()]

    said, page, members = asyncio.run(run())
    assert (said, members) == (answer, ["data-1"])
    assert counted(page, "fodc_proxy_agents_refused_total") == {reason: 1.0}
    (line,) = lines_in(audit)
    assert (line["audit"], line["caller"], line["status"], line["reason"], line["peer"]) == (
        *("registerAgent", caller, status, reason),
        "127.0.0.1",
    )


def test_of_a_flood_of_agents_the_audit_has_some_lines_and_how_many_more_there_were(tmp_path):
    audit, tokens = tmp_path / "audit", tmp_path / "agents"
    tokens.write_text("rack-1 vm-0 s3cret-s3cret-s3cret\n")
    told = {"access": AccessSettings(audit_log=str(audit)), "agents": AgentAccess(str(tokens))}

    async def run():
        async with running(tmp_path, **told) as proxy:
            now = proxy.gate._now()
            proxy.gate._now = lambda: now
            await asyncio.gather(*(link(proxy, f"nonsense-{n}") for n in range(130)))
            later = replace(now, steady_ms=now.steady_ms + 100)  # a place is free again
            proxy.gate._now = lambda: later
            await link(proxy, "nonsense")
            await until(lambda: any("more" in one for one in lines_in(audit)))

    asyncio.run(run())
    lines = lines_in(audit)
    assert len(lines) == 101
    assert [line["more"] for line in lines if "more" in line] == [
        "30 of this reason since the last line"
    ]


# ---- people -----------------------------------------------------------------------------------


async def asked(proxy, _issuer, method="POST", path=REQUESTS, body=CPU, token=ADMIN, **heads):
    async with Asking(proxy, token) as caller:
        return (await caller.ask(method, path, body=body, **heads)).status


async def oidc(proxy, issuer, **claims):
    return await asked(proxy, issuer, token=issuer.token(roles=["fodc-admin"], **claims))


async def used_link(proxy, _issuer):
    async with Asking(proxy, ADMIN) as anna, Asking(proxy) as nobody:
        made = await anna.ask("POST", "/artifacts/art-1/links", body={"once": True})
        path = json.loads(made.text)["path"]
        assert (await nobody.ask("GET", path)).status == 200
        return (await nobody.ask("GET", path)).status


async def altered_link(proxy, _issuer):
    async with Asking(proxy, ADMIN) as anna, Asking(proxy) as nobody:
        made = await anna.ask("POST", "/artifacts/art-1/links", body={})
        path = json.loads(made.text)["path"]
        return (await nobody.ask("GET", path[:-4] + "AAAA")).status


async def cookie(proxy, _issuer):
    async with Asking(proxy) as browser:
        await browser.ask("POST", "/session", Authorization=f"Bearer {ADMIN}")
        return (await browser.ask("POST", REQUESTS, body=CPU)).status


PEOPLE = {
    "no token": (asked, {"token": ""}, 401, "NoToken", "nobody"),
    "unknown token": (asked, {"token": "a-token-of-nobody-at-all"}, 401, "WrongToken", "nobody"),
    "no bearer": (
        *(asked, {"token": "", "Authorization": "Basic YTpi"}, 401, "WrongToken", "nobody"),
    ),
    "wrong audience": (oidc, {"aud": "account"}, 401, "WrongToken", "nobody"),
    "expired": (oidc, {"exp": int(time.time()) - 600}, 401, "WrongToken", "nobody"),
    "replayed link": (used_link, {}, 403, "WrongLink", "nobody"),
    "altered link": (altered_link, {}, 403, "WrongLink", "nobody"),
    "viewer asks for a heap": (asked, {"token": VIEWER, "body": HEAP}, 403, "Forbidden", "vera"),
    "cookie without CSRF token": (cookie, {}, 403, "NoCsrfToken", "anna"),
    "foreign Host": (asked, {"Host": "evil.example"}, 421, "ForeignHost", "nobody"),
    "two Hosts in one": (asked, {"Host": "a.example, b.example"}, 421, "ForeignHost", "nobody"),
    "foreign Origin": (
        *(asked, {"Origin": "https://evil.example"}, 403, "ForeignOrigin", "nobody"),
    ),
    "foreign site": (asked, {"Sec_Fetch_Site": "cross-site"}, 403, "ForeignOrigin", "nobody"),
}


@pytest.mark.parametrize("case", PEOPLE)
def test_somebody_who_may_not_ask(tmp_path, case):
    play, told, status, reason, caller = PEOPLE[case]
    audit, tokens = tmp_path / "audit", tmp_path / "tokens"
    tokens.write_text(f"anna admin {ADMIN}\nvera viewer {VIEWER}\n")

    async def run():
        async with issuing() as issuer:
            access = AccessSettings(
                str(tokens), audit_log=str(audit), issuer=Issuer(issuer.url, AUDIENCE)
            )
            async with running(tmp_path, access=access) as proxy:
                await an_artifact(proxy, tmp_path)
                said = await play(proxy, issuer, **told)
                page = (await fetch(proxy, "/metrics", Authorization=f"Bearer {ADMIN}")).text
                await until(lambda: any(one["status"] == status for one in lines_in(audit)))
                return said, page

    said, page = asyncio.run(run())
    assert said == status
    assert counted(page, "fodc_proxy_callers_refused_total") == {reason: 1.0}
    (line,) = (one for one in lines_in(audit) if one["status"] == status)
    assert (line["caller"], line["peer"]) == (caller, "127.0.0.1")


async def an_artifact(proxy, tmp_path):
    content = tmp_path / "content"
    content.write_bytes(b"what was captured")
    sha256 = hashlib.sha256(content.read_bytes()).hexdigest()
    about = ("art-1", "r1", "cmd-1", "data-0", "data-0", "ROLE_DATA", "cpu", "pprof")
    await proxy.diagnostics.store.commit(Manifest(*about, 17, sha256, 1, 0, 0, 0), content)
