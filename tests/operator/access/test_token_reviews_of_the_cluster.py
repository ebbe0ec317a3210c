# SPDX-License-Identifier: Apache-2.0
"""What the API server says of a token, over a real socket, and how it is read."""

import asyncio
import base64
import json
from typing import Any

import pytest
from aiohttp import web

from fodc_kube.client import Cluster
from fodc_operator.access import token_reviews
from fodc_operator.access.token_reviews import ClusterTokenReviews
from fodc_proxy.access.answers import Away, Denied
from fodc_proxy.access.token_reviews import Review, Reviewed
from tests.operator.servers import FAST, api_client

PATH = "/apis/authentication.k8s.io/v1/tokenreviews"
TOKEN = "secret-token"
USER = {
    "username": "system:serviceaccount:db:default",
    "uid": "5d1",
    "groups": ["system:serviceaccounts", "system:serviceaccounts:db"],
    "extra": {
        "authentication.kubernetes.io/pod-name": ["data-0"],
        "authentication.kubernetes.io/pod-uid": ["7f3"],
    },
}
YES = {"authenticated": True, "user": USER, "audiences": ["fodc-proxy"]}


def review(status: Any, token: str = TOKEN, code: int = 201) -> tuple[Review, Any]:
    """Ask a server that answers with this status; also what it was sent."""
    sent: list[Any] = []

    async def answer(request: web.Request) -> web.Response:
        sent.append(await request.json())
        return web.json_response({"status": status, "message": f"no {token}"}, status=code)

    async def within() -> Review:
        app = web.Application()
        app.router.add_post(PATH, answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            async with api_client(f"http://127.0.0.1:{runner.addresses[0][1]}") as client:
                cluster = Cluster(client, backoff=FAST, deadline_s=0.5)
                reviews = ClusterTokenReviews(cluster)
                return await reviews.review(token, ("fodc-proxy",))
        finally:
            await runner.cleanup()

    return asyncio.run(within()), next(iter(sent), None)


def test_a_yes_is_read_with_the_pod_that_the_token_is_bound_to() -> None:
    found, sent = review(YES)

    assert found == Reviewed(
        "system:serviceaccount:db:default",
        "5d1",
        ("system:serviceaccounts", "system:serviceaccounts:db"),
        {
            "authentication.kubernetes.io/pod-name": ("data-0",),
            "authentication.kubernetes.io/pod-uid": ("7f3",),
        },
        ("fodc-proxy",),
    )
    assert sent["spec"] == {"token": TOKEN, "audiences": ["fodc-proxy"]}
    assert (sent["apiVersion"], sent["kind"]) == ("authentication.k8s.io/v1", "TokenReview")


def test_the_end_of_a_token_is_read_from_the_token_that_the_server_has_found_valid() -> None:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": 1_900_000_000}).encode()).decode()
    found, _ = review(YES, f"e30.{claims.rstrip('=')}.c2ln")

    assert isinstance(found, Reviewed)
    assert found.expires_ms == 1_900_000_000_000


OWN_WORDS = "the token is not valid: expired, revoked, its pod is gone, or not issued here"


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (
            {"authenticated": False, "error": "token expired"},
            "the token is not valid: token expired",
        ),
        ({"authenticated": False, "error": f"bad {TOKEN}"}, OWN_WORDS),
        ({"user": USER}, OWN_WORDS),
        ({**YES, "authenticated": "true"}, OWN_WORDS),
        ({**YES, "audiences": ["other"]}, "the token is not meant for fodc-proxy"),
        ({**YES, "audiences": None}, "the token is not meant for fodc-proxy"),
        ({**YES, "user": None}, "the API server names no user of the token"),
        (None, OWN_WORDS),
    ],
)
def test_what_is_not_clearly_a_yes_is_a_no(status: Any, reason: str) -> None:
    assert review(status)[0] == Denied(reason)


@pytest.mark.parametrize("code", [403, 500])
def test_a_server_that_cannot_answer_is_away_and_its_words_do_not_repeat_the_token(
    code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_reviews, "DEADLINE_S", 0.3)
    found, _ = review(None, code=code)

    assert isinstance(found, Away)
    assert "cannot review tokens now" in found.reason
    assert TOKEN not in found.reason
