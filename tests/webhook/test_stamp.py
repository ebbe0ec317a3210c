# SPDX-License-Identifier: Apache-2.0
"""Who asks for captures is written on the DiagnosticRequest, whatever the object says itself."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_protocol.audit_lines import audit_line as line_of
from fodc_proxy.access.audit import Deed
from fodc_proxy.access.audit import line_of as proxys_line_of
from fodc_proxy.access.callers import Caller, Method
from fodc_webhook.audit import Lines
from fodc_webhook.kinds import CANCELLED_BY, REQUESTED_BY
from fodc_webhook.review import Asking as Review
from fodc_webhook.review import Operation
from fodc_webhook.stamp import stamp
from tests.webhook.asking import NS, Asking, asking
from tests.webhook.patching import applied
from tests.webhook.requests import SPEC, review


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


@pytest.mark.parametrize(
    ("cancel", "there", "names"),
    [
        (("", "Stop"), {}, {CANCELLED_BY: "mary"}),
        # The next step is the next person's.
        (("Stop", "Abort"), {CANCELLED_BY: "jane"}, {CANCELLED_BY: "mary"}),
        # Another change of the object is nobody's end of it.
        (("Stop", "Stop"), {CANCELLED_BY: "jane"}, {CANCELLED_BY: "jane"}),
        (("", ""), {}, {}),
    ],
)
def test_who_ends_a_request_early_is_written_on_it(
    cancel: tuple[str, str], there: dict[str, str], names: dict[str, str]
) -> None:
    before = {"name": "slow", "annotations": {REQUESTED_BY: "jane", **there}}

    async def run(asked: Asking) -> None:
        response = await asked.send(review(before, "mary", "UPDATE", cancel))

        assert response["allowed"] is True
        found = annotations(response, before) if "patch" in response else before["annotations"]
        assert found == {REQUESTED_BY: "jane", **names}

    with_webhook(run)


def test_a_change_that_names_somebody_else_as_who_ends_it_is_overwritten_with_a_warning() -> None:
    forged = Review(
        "u", NS, "slow", "mallory", False, {CANCELLED_BY: "root"}, Operation.UPDATE, "Abort"
    )
    decision = stamp(forged)

    after = applied(list(decision.steps), {"metadata": {"annotations": {CANCELLED_BY: "root"}}})
    assert after == {"metadata": {"annotations": {CANCELLED_BY: "mallory"}}}
    assert decision.warnings == (
        "fodc: fodc.banyandb.dev/cancelled-by is who ends it early, mallory",
    )


def test_who_deletes_a_request_is_a_line_of_the_audit_and_a_trial_is_none() -> None:
    deeds: list[Mapping[str, str | int]] = []
    trial = review({"name": "slow"}, "mary", "DELETE")
    trial["request"]["dryRun"] = True

    async def run(asked: Asking) -> None:
        deleted = await asked.send(review({"name": "slow", "uid": "1"}, "mary", "DELETE"))
        tried = await asked.send(trial)

        assert (deleted["allowed"], tried["allowed"]) == (True, True)
        assert asked.counted() == {("Deleted", ""): 2}
        (deed,) = deeds
        assert deed == {
            "audit": "deleteDiagnosticRequest",
            "caller": "mary",
            "authenticated": "admission",
            "peer": "api-server",
            "status": 202,
            "request_id": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "resource": f"{NS}/slow",
        }

    with_webhook(run, audit=deeds.append)


def test_of_a_flood_of_deletions_there_are_some_lines_and_how_many_more_there_were() -> None:
    """Whoever reaches the port may say that they are an API server."""
    written: list[bytes] = []
    now_s = 0.0
    lines = Lines(written.append, lambda: now_s)
    for _ in range(1_000):
        lines.note({"audit": "deleteDiagnosticRequest", "caller": "x" * 1_000})
    now_s = 0.1
    lines.note({"audit": "deleteDiagnosticRequest", "caller": "mary"})

    assert len(written) == 101
    assert max(map(len, written)) < 512
    assert json.loads(written[-1])["more"] == "900 since the last line"


def test_a_line_of_the_audit_is_in_the_words_of_the_proxys() -> None:
    caller = Caller("mary", Method.KUBERNETES)
    of_proxy = Deed(0, "705ab4f5", caller, "api-server", "deleteDiagnosticRequest", 202)
    deletion = stamp(Review("705ab4f5", NS, "slow", "mary", False, None, Operation.DELETE)).deed

    assert deletion is not None
    own = json.loads(line_of({**deletion, "authenticated": "kubernetes"}, 0))
    assert own.pop("resource") == f"{NS}/slow"
    assert own == json.loads(proxys_line_of(of_proxy))


def test_of_objects_that_change_or_go_kopf_keeps_nothing() -> None:
    """By its id it would remember each of them, and nothing here would make it forget."""
    kept: list[Any] = []

    async def run(asked: Asking) -> None:
        behind = asked.admission._fn
        assert behind is not None

        async def seen(whole: Any) -> Any:
            kept.append(whole)
            return await behind(whole)

        asked.admission._fn = seen
        await asked.send(review({"name": "slow", "uid": "1"}, "mary", "UPDATE", ("", "Stop")))
        request = kept[0]["request"]
        assert request["object"] == {"metadata": {"name": "slow", "namespace": NS}}
        assert "oldObject" not in request

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
