# SPDX-License-Identifier: Apache-2.0
"""What the API server says a caller may, over a real socket, and how it is read."""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from fodc_api.words import Right
from fodc_kube.client import Cluster
from fodc_operator.access import access_reviews
from fodc_operator.access.access_reviews import VERBS, ClusterAccessReviews
from fodc_proxy.access.access_reviews import Allowed, Decision
from fodc_proxy.access.answers import Away, Denied
from fodc_proxy.access.callers import Caller, Method
from tests.operator.servers import FAST, api_client

PATH = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
ANNA = Caller(
    "anna",
    Method.KUBERNETES,
    groups=("dev",),
    uid="u1",
    extra={"scopes": ("a", "b")},
    granted_by="an administrator of the cluster",
)


def review(
    right: Right, namespace: str = "", *, allowed: Any = True, code: int = 201
) -> tuple[Decision, list[Any]]:
    """Ask a server that answers so; also what it was sent."""
    sent: list[Any] = []

    async def answer(request: web.Request) -> web.Response:
        sent.append((await request.json())["spec"])
        return web.json_response({"status": {"allowed": allowed}, "message": "no"}, status=code)

    async def within() -> Decision:
        app = web.Application()
        app.router.add_post(PATH, answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            async with api_client(f"http://127.0.0.1:{runner.addresses[0][1]}") as client:
                cluster = Cluster(client, backoff=FAST, deadline_s=0.5)
                return await ClusterAccessReviews(cluster).review(ANNA, right, namespace)
        finally:
            await runner.cleanup()

    return asyncio.run(within()), sent


def test_a_right_is_a_verb_on_our_own_resources() -> None:
    decision, (spec,) = review(Right.ARTIFACTS, "db")

    assert decision == Allowed()
    assert spec == {
        "user": "anna",
        "uid": "u1",
        "groups": ["dev"],
        "extra": {"scopes": ["a", "b"]},
        "resourceAttributes": {
            "group": "fodc.banyandb.dev",
            "resource": "diagnosticrequests",
            "subresource": "artifacts",
            "verb": "get",
            "namespace": "db",
        },
    }


def test_every_right_but_the_open_one_has_its_verb() -> None:
    assert set(VERBS) == set(Right) - {Right.ANYBODY}


def test_metrics_may_be_read_by_path_or_by_who_sees_the_nodes() -> None:
    decision, specs = review(Right.METRICS, allowed=False)

    assert isinstance(decision, Denied)
    assert [set(spec) & {"nonResourceAttributes", "resourceAttributes"} for spec in specs] == [
        {"nonResourceAttributes"},
        {"resourceAttributes"},
    ]
    assert specs[0]["nonResourceAttributes"] == {"verb": "get", "path": "/metrics"}


def test_a_no_names_right_verb_place_and_role() -> None:
    assert review(Right.HEAP, allowed=False)[0] == Denied(
        "anna lacks the right heap: create on diagnosticrequests/heapsnapshot in all namespaces; "
        "an administrator of the cluster grants it by a ClusterRoleBinding of fodc-admin"
    )
    assert review(Right.ARTIFACTS, "db", allowed=False)[0] == Denied(
        "anna lacks the right artifacts: get on diagnosticrequests/artifacts in namespace db; an "
        "administrator of the cluster grants it by a RoleBinding there or a ClusterRoleBinding of "
        "fodc-profiler"
    )


@pytest.mark.parametrize("allowed", ["true", 1, None, [], {}])
def test_what_is_not_clearly_a_yes_is_a_no(allowed: Any) -> None:
    assert isinstance(review(Right.VIEW, allowed=allowed)[0], Denied)


@pytest.mark.parametrize("code", [403, 500, 503])
def test_a_server_that_does_not_answer_is_away(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_reviews, "DEADLINE_S", 0.3)
    assert isinstance(review(Right.VIEW, code=code)[0], Away)
