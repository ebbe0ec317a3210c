# SPDX-License-Identifier: Apache-2.0
"""Who asks for captures is written on the DiagnosticRequest, whatever the object says itself."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fodc_webhook.review import Asking as Review
from fodc_webhook.stamp import REQUESTED_BY, stamp
from tests.webhook.asking import NS, Asking, asking
from tests.webhook.patching import applied

SPEC = {"target": {"all": True}, "captures": [{"type": "CPUProfile"}]}


def review(metadata: dict[str, Any], user: str = "jane") -> dict[str, Any]:
    request = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": {"group": "fodc.banyandb.dev", "version": "v1alpha1", "kind": "DiagnosticRequest"},
        "resource": {
            "group": "fodc.banyandb.dev",
            "version": "v1alpha1",
            "resource": "diagnosticrequests",
        },
        "userInfo": {"username": user, "groups": ["system:authenticated"]},
        "operation": "CREATE",
        "namespace": NS,
        "object": {"metadata": metadata, "spec": SPEC},
        "dryRun": False,
    }
    return {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}


def with_webhook(run: Callable[[Asking], Awaitable[None]], **more: Any) -> None:
    async def within() -> None:
        async with asking(**more) as asked:
            await run(asked)

    asyncio.run(within())


def annotations(response: dict[str, Any], metadata: dict[str, Any]) -> Any:
    steps = json.loads(base64.b64decode(response["patch"]))
    return applied(steps, {"metadata": metadata, "spec": SPEC})["metadata"]["annotations"]


def test_who_creates_a_request_is_written_on_it() -> None:
    async def run(asked: Asking) -> None:
        response = await asked.send(review({"name": "slow"}))

        assert response["allowed"] is True
        assert "warnings" not in response
        assert annotations(response, {"name": "slow"}) == {REQUESTED_BY: "jane"}
        assert asked.counted() == {("Stamped", ""): 1}

    with_webhook(run)


def test_another_name_that_the_object_claims_is_overwritten_with_a_warning() -> None:
    async def run(asked: Asking) -> None:
        forged = {"name": "slow", "annotations": {REQUESTED_BY: "root", "team": "a"}}
        response = await asked.send(review(forged, "mallory"))

        assert annotations(response, forged) == {REQUESTED_BY: "mallory", "team": "a"}
        assert response["warnings"] == [
            "fodc: fodc.banyandb.dev/requested-by is who creates the object, mallory"
        ]

    with_webhook(run)


def test_a_request_without_a_user_is_let_in_unsigned_with_the_reason() -> None:
    async def run(asked: Asking) -> None:
        response = await asked.send(review({"name": "slow"}, ""))

        assert response["allowed"] is True
        assert "patch" not in response
        assert asked.counted() == {("Allowed", "Malformed"): 1}

    with_webhook(run)


def test_policies_that_are_not_read_yet_do_not_keep_a_request_from_its_stamp() -> None:
    async def run(asked: Asking) -> None:
        asked.memory._lists[0]._synced.clear()
        response = await asked.send(review({"name": "slow"}))

        assert annotations(response, {"name": "slow"}) == {REQUESTED_BY: "jane"}

    with_webhook(run, watching=False)


def test_a_request_that_cannot_be_handled_is_let_in_and_the_namespace_told() -> None:
    async def run(asked: Asking) -> None:
        async def broken(_: Any) -> Any:
            raise ZeroDivisionError

        asked.admission._fn = broken
        response = await asked.send(review({"generateName": "slow-"}))

        assert response["allowed"] is True
        (warning,) = response["warnings"]
        assert warning.startswith("fodc: nobody wrote down who asks for this: a fault of the webh")
        ((kind, name, told),) = asked.notes
        assert (kind, name) == ("Namespace", NS)
        assert told.message.startswith("DiagnosticRequest slow-* was let in unseen: ")

    with_webhook(run)


names = st.text(min_size=1, max_size=20)


@given(names, st.none() | st.dictionaries(names, names, max_size=4), st.booleans())
def test_the_stamp_is_who_asks_and_touches_nothing_else(
    user: str, known: dict[str, Any] | None, dry: bool
) -> None:
    asked = Review("u", NS, "slow", user, dry, known)
    before: dict[str, Any] = {"name": "slow"} | ({} if known is None else {"annotations": known})
    after = applied(list(stamp(asked).steps), {"metadata": before})

    assert after == {
        "metadata": {"name": "slow", "annotations": {**(known or {}), REQUESTED_BY: user}}
    }
