# SPDX-License-Identifier: Apache-2.0
"""Every review over the webhook's socket enters by kopf's registry, and by nothing beside it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import kopf
import pytest

from fodc_webhook.decide import Decision
from fodc_webhook.handlers import pods, requests
from fodc_webhook.server import current
from tests.webhook.asking import Asking, asking, review
from tests.webhook.pods import pod
from tests.webhook.requests import review as request_review

POD = review(pod())
REQUEST = request_review({"name": "slow"})
UNDECIDED = "a fault of the webhook; its log has the cause"
by_kind = pytest.mark.parametrize(
    ("module", "asked_about", "plural"),
    [(pods, POD, "pods"), (requests, REQUEST, "diagnosticrequests")],
    ids=("pods", "requests"),
)


def with_webhook(run: Callable[[Asking], Awaitable[None]]) -> None:
    async def within() -> None:
        async with asking() as asked:
            await run(asked)

    asyncio.run(within())


@by_kind
def test_without_its_handler_in_the_registry_of_kopf_no_review_is_decided(
    monkeypatch: pytest.MonkeyPatch, module: Any, asked_about: dict[str, Any], plural: str
) -> None:
    del plural
    monkeypatch.setattr(module, "register", lambda _registry, *_: None)

    async def run(asked: Asking) -> None:
        await asked.policy()
        response = await asked.send(asked_about)

        assert (response["allowed"], "patch" in response) == (True, False)
        assert response["warnings"][0].endswith(UNDECIDED)
        assert asked.counted() == {("Allowed", "InjectionFailed"): 1}

    with_webhook(run)


@by_kind
def test_what_a_handler_in_the_registry_of_kopf_says_is_the_answer(
    monkeypatch: pytest.MonkeyPatch, module: Any, asked_about: dict[str, Any], plural: str
) -> None:
    heard: list[str] = []

    def register(registry: kopf.OperatorRegistry, *_: object) -> None:
        @kopf.on.mutate(plural, operations={"CREATE"}, registry=registry, id="ours")
        async def created(warnings: list[str], operation: str, **_: object) -> None:
            heard.append(operation)
            warnings.append("by kopf")
            current().decision = Decision("Heard")

    monkeypatch.setattr(module, "register", register)

    async def run(asked: Asking) -> None:
        response = await asked.send(asked_about)

        assert (response["allowed"], response["warnings"], heard) == (True, ["by kopf"], ["CREATE"])
        assert asked.counted() == {("Heard", ""): 1}

    with_webhook(run)
