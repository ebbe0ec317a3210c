# SPDX-License-Identifier: Apache-2.0
"""People of a cluster at the door, with the API server there, away and slow; over real sockets."""

import asyncio
import base64
import json
from dataclasses import dataclass, field

import pytest

from fodc_api.words import Right
from fodc_proxy.access.access_reviews import Allowed
from fodc_proxy.access.answers import Away, Denied
from fodc_proxy.access.people import audiences_of
from fodc_proxy.access.token_reviews import Reviewed
from fodc_proxy.hosting import Host
from fodc_proxy.runtime import Proxy
from fodc_proxy.settings import Settings

from ..live import ANYWHERE, fetch  # noqa: TID252 - one folder's tests

ANNA = "token-of-anna"
BERT = "token-of-bert"


@dataclass
class ApiServer:
    """Knows anna and bert, lets anna view; `is_away` and `is_slow` are as they say."""

    is_away: bool = False
    is_slow: bool = False
    asked: list[str] = field(default_factory=list)
    rights: set[Right] = field(default_factory=lambda: {Right.VIEW})

    async def tokens(self, token):
        self.asked.append(token)
        if self.is_slow:
            await asyncio.Event().wait()
        if self.is_away:
            return Away("the API server is away")
        names = {ANNA: "anna", BERT: "bert"}
        return Reviewed(names[token]) if token in names else Denied("not one of ours")

    async def access(self, caller, right):
        if self.is_away:
            return Away("the API server is away")
        may = caller.name == "anna" and right in self.rights
        return Allowed() if may else Denied(f"{caller.name} lacks {right}")


class Tokens:
    def __init__(self, server):
        self.server = server

    async def review(self, token, audiences):
        return await self.server.tokens(token)


class Access:
    def __init__(self, server):
        self.server = server

    async def review(self, caller, right, namespace):
        return await self.server.access(caller, right)


def played(tmp_path, scene):
    async def run():
        server = ApiServer()
        host = Host(token_reviewer=Tokens(server), access_reviewer=Access(server))
        proxy = Proxy(Settings(ANYWHERE, ANYWHERE, data_dir=str(tmp_path)), host)
        await proxy.start()
        try:
            return await scene(proxy, server)
        finally:
            await proxy.stop()

    return asyncio.run(run())


def get(proxy, path, token):
    return fetch(proxy, path, Authorization=f"Bearer {token}")


def test_who_the_api_server_knows_may_what_it_says(tmp_path):
    async def scene(proxy, server):
        known = await get(proxy, "/cluster", ANNA)
        more = await get(proxy, "/artifacts", ANNA)
        other = await get(proxy, "/cluster", BERT)
        stranger = await get(proxy, "/cluster", "stranger")
        nobody = await fetch(proxy, "/cluster")
        return [one.status for one in (known, more, other, stranger, nobody)], server.asked

    statuses, asked = played(tmp_path, scene)
    assert statuses == [200, 403, 403, 401, 401]
    # Answers are remembered: one question per token.
    assert asked == [ANNA, BERT, "stranger"]


def test_while_the_api_server_is_away_known_callers_go_on_and_new_ones_hear_why(tmp_path):
    async def scene(proxy, server):
        before = await get(proxy, "/cluster", ANNA)
        server.is_away = True
        return before, await get(proxy, "/cluster", ANNA), await get(proxy, "/cluster", BERT)

    before, known, new = played(tmp_path, scene)
    assert (before.status, known.status, new.status) == (200, 200, 503)
    assert "cannot find out whose token this is: the API server is away" in new.text
    assert new.headers["Retry-After"] == "1"


def test_a_slow_api_server_costs_a_new_caller_its_deadline_and_nobody_else(tmp_path):
    async def scene(proxy, server):
        await get(proxy, "/cluster", ANNA)
        server.is_slow = True
        new = asyncio.create_task(get(proxy, "/cluster", BERT))
        known = await get(proxy, "/cluster", ANNA)
        return known, await new

    known, new = played(tmp_path, scene)
    assert (known.status, new.status) == (200, 503)
    assert "the API server did not answer within 3 s" in new.text


def token_with(**claims):
    part = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{part}.c2ln"


@pytest.mark.parametrize(
    ("token", "audiences"),
    [
        (token_with(aud="fodc-proxy"), ("fodc-proxy",)),
        (token_with(aud=["x", "fodc-proxy"]), ("fodc-proxy",)),
        (token_with(aud=["https://kubernetes.default.svc"]), ()),
        (token_with(sub="x"), ()),
        ("opaque", ()),
        ("a.%%%.c", ()),
        ("a." + base64.urlsafe_b64encode(b"[" * 100_000).decode() + ".c", ()),
    ],
)
def test_a_token_is_reviewed_for_the_audience_that_it_names(token, audiences):
    assert audiences_of(token) == audiences
