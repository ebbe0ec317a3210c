# SPDX-License-Identifier: Apache-2.0
"""The webhook over HTTP: whatever is sent, the pod is let in; what is done to it is told."""

import asyncio
import contextlib
import gc
import json
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fodc_webhook.exchange import Answer, Request
from fodc_webhook.review import ReviewError, answer, read_review
from fodc_webhook.server import Bounds, json_of
from fodc_webhook.versions import UNKNOWN
from tests.operator.servers import INJECTIONS, NAMESPACES
from tests.webhook.asking import NS, SKIPPED, Asking, agents, asking, review
from tests.webhook.pods import pod

V1 = (
    b'{"apiVersion": "admission.k8s.io/v1", "request": {"uid": "u-1", "operation": "%s", '
    b'"kind": {"kind": "Pod"}}}'
)
UID = "705ab4f5-6393-11e8-b7cc-42010a800002"


def with_webhook(run: Callable[[Asking], Awaitable[None]], **more: Any) -> None:
    async def within() -> None:
        async with asking(**more) as asked:
            await run(asked)

    asyncio.run(within())


# ---- in order -----------------------------------------------------------------------------------


def test_a_selected_pod_gets_its_agent_and_the_second_call_changes_nothing() -> None:
    async def run(asked: Asking) -> None:
        await asked.policy()
        made, warnings = await asked.made(pod())
        again, _ = await asked.made(made)

        assert (agents(made), warnings) == (1, [])
        assert again == made
        assert asked.counted() == {("Injected", ""): 2}
        assert asked.api.count("GET", f"namespaces/{NS}/fodcinjections") == 0

    with_webhook(run)


def test_a_pod_that_nobody_selects_is_left_alone_in_silence() -> None:
    async def run(asked: Asking) -> None:
        await asked.policy()
        made, warnings = await asked.made(pod(labels={"app": "web"}))

        assert (made, warnings) == (pod(labels={"app": "web"}), [])
        assert asked.counted() == {("Skipped", "NotSelected"): 1}
        assert asked.notes == []

    with_webhook(run)


def test_a_reason_that_a_person_should_know_is_on_the_pod_and_a_warning() -> None:
    async def run(asked: Asking) -> None:
        await asked.policy()
        wrong = pod(annotations={"fodc.banyandb.dev/flavor": "everything"})
        made, warnings = await asked.made(wrong)

        told = made["metadata"]["annotations"][SKIPPED]
        assert told.startswith("BadAnnotation: ")
        assert warnings == [f"fodc: {told.removeprefix('BadAnnotation: ')}"]

    with_webhook(run)


def test_a_policy_may_refuse_a_pod_for_a_reason_of_the_pods_own() -> None:
    async def run(asked: Asking) -> None:
        await asked.policy(onError="Deny")
        wrong = pod(annotations={"fodc.banyandb.dev/flavor": "everything"})
        response = await asked.send(review(wrong))

        assert response["allowed"] is False
        assert response["status"]["code"] == 403
        assert response["status"]["message"].startswith("FodcInjection db (onError: Deny): ")
        assert asked.counted() == {("Denied", "BadAnnotation"): 1}

    with_webhook(run)


def test_a_policy_that_refuses_pods_does_not_refuse_them_for_faults_of_ours() -> None:
    async def run(asked: Asking) -> None:
        await asked.policy(onError="Deny")
        response = await asked.send(review(pod()))

        assert response["allowed"] is True
        assert asked.counted() == {("Skipped", "InjectionFailed"): 1}

    with_webhook(run, attempt=breaks)


def breaks(*_: object) -> Any:
    raise ZeroDivisionError("a fault of ours")


def test_a_paused_policy_gives_nothing_and_says_so() -> None:
    async def run(asked: Asking) -> None:
        await asked.policy(paused=True)
        made, (warning,) = await asked.made(pod())

        assert agents(made) == 0
        assert warning == "fodc: FodcInjection db is paused; set paused: false there to go on"

    with_webhook(run)


def test_a_suspended_policy_lets_pods_in_without_an_agent_until_its_spec_changes() -> None:
    async def run(asked: Asking) -> None:
        await asked.policy()
        condition = {
            "type": "AgentsStart",
            "status": "False",
            "reason": "ImagePullBackOff",
            "message": "no more pods get an agent",
            "observedGeneration": 1,
        }
        store = asked.api.store(INJECTIONS)
        body = {"status": {"conditions": [condition]}}
        store.patch(NS, "db", "application/merge-patch+json", body, subresource="status")
        await until(lambda: asked.memory.book(NS).suspended)
        made, _ = await asked.made(pod())
        store.patch(NS, "db", "application/merge-patch+json", {"spec": {"pprofPort": 6061}})
        await until(lambda: not asked.memory.book(NS).suspended)
        after, _ = await asked.made(pod())

        assert made["metadata"]["annotations"][SKIPPED] == (
            "Suspended: FodcInjection db gives no agents now: ImagePullBackOff: no more pods get "
            "an agent"
        )
        assert agents(after) == 1
        assert [note.reason for _, _, note in asked.notes] == ["Suspended"]

    with_webhook(run)


async def until(look: Callable[[], Any]) -> None:
    while not look():
        await asyncio.sleep(0.005)


def test_a_policy_that_cannot_be_read_is_the_reason_for_no_agent() -> None:
    async def run(asked: Asking) -> None:
        await asked.policy("bad", flavor="everything")
        made, _ = await asked.made(pod())

        told = made["metadata"]["annotations"][SKIPPED]
        assert told.startswith("BadPolicy: FodcInjection bad cannot be read: spec.flavor ")

    with_webhook(run)


# ---- what memory does not have yet --------------------------------------------------------------


def test_a_policy_that_was_applied_a_moment_ago_is_looked_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fodc_webhook.memory.LOOK_S", 10.0)
    monkeypatch.setattr("fodc_webhook.memory.LOOKED_S", 10.0)

    async def run(asked: Asking) -> None:
        await asked.policy(heard=False)
        made = [await asked.made(pod()) for _ in range(3)]

        # The third time it counts as refused before.
        assert [agents(one) for one, _ in made] == [1, 1, 0]
        assert asked.api.count("GET", f"namespaces/{NS}/fodcinjections") == 1

    with_webhook(run, watching=False, clock_s=lambda: 0.0)


def test_a_namespace_that_was_made_a_moment_ago_is_looked_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fodc_webhook.memory.LOOK_S", 10.0)

    async def run(asked: Asking) -> None:
        labels = {"fodc.banyandb.dev/inject": "enabled"}
        asked.api.store(NAMESPACES).create("", {"metadata": {"name": "new", "labels": labels}})
        selector = {"podSelector": {"matchLabels": {"app": "banyandb-data"}}}
        body = {"metadata": {"name": "db"}, "spec": selector}
        asked.api.store(INJECTIONS).create("new", body)
        made, _ = await asked.made(pod(), namespace="new")

        assert agents(made) == 1

    with_webhook(run, watching=False)


def test_an_api_server_that_does_not_answer_costs_half_a_second() -> None:
    async def run(asked: Asking) -> None:
        asked.api.fail(500, "GET", times=10_000)
        took_s = []
        for namespace in (NS, "b", "c"):  # each is looked up anew; the least counts
            began = asyncio.get_running_loop().time()
            made, _ = await asked.made(pod(), namespace=namespace)
            took_s.append(asyncio.get_running_loop().time() - began)
            assert agents(made) == 0

        assert min(took_s) < 0.9
        assert asked.counted() == {("Skipped", "NotSelected"): 3}

    with_webhook(run, watching=False)


def test_nothing_is_done_before_memory_is_filled() -> None:
    async def run(asked: Asking) -> None:
        asked.memory.versions.oldest = UNKNOWN
        made, (warning,) = await asked.made(pod())
        await asked.made(pod(), dry_run=True)

        assert made == pod()
        assert warning == (
            "fodc: no agent was put into this pod: the server's version not read yet"
        )
        assert asked.counted() == {("Allowed", "NotReady"): 2}
        assert [note.reason for _, _, note in asked.notes] == ["NotReady"]

    with_webhook(run)


# ---- pods that come back ------------------------------------------------------------------------


def test_a_pod_that_was_refused_with_an_agent_is_let_in_without() -> None:
    async def run(asked: Asking) -> None:
        await asked.policy()
        made = [(await asked.made(pod()))[0] for _ in range(3)]

        assert [agents(one) for one in made] == [1, 1, 0]
        assert made[2]["metadata"]["annotations"][SKIPPED].startswith("RefusedAfterInjection: ")
        assert [(note.reason, kind, name) for kind, name, note in asked.notes] == [
            ("RefusedAfterInjection", "FodcInjection", "db")
        ]

    with_webhook(run, clock_s=lambda: 0.0)


def test_a_dry_run_leaves_nothing_behind() -> None:
    async def run(asked: Asking) -> None:
        await asked.policy()
        made = [(await asked.made(pod(), dry_run=True))[0] for _ in range(9)]
        after, _ = await asked.made(pod())

        assert [agents(one) for one in [*made, after]] == [1] * 10
        assert asked.notes == []

    with_webhook(run, clock_s=lambda: 0.0)


# ---- out of order -------------------------------------------------------------------------------


def test_a_fault_of_ours_is_on_the_pod_in_the_metric_and_in_a_note() -> None:
    async def run(asked: Asking) -> None:
        made, warnings = await asked.made(pod())
        await asked.made(pod(), dry_run=True)

        text = "a fault of the webhook; its log has the cause"
        assert made["metadata"]["annotations"][SKIPPED] == f"InjectionFailed: {text}"
        assert warnings == [f"fodc: {text}"]
        ((kind, name, note),) = asked.notes
        assert (kind, name, note.reason, note.message) == (
            "Namespace",
            NS,
            "InjectionFailed",
            f"pod banyandb-data-0: {text}",
        )

    with_webhook(run, attempt=breaks)


@pytest.mark.parametrize(
    ("body", "uid", "reason"),
    [
        (b"", "", "Malformed"),
        (b"[]", "", "Malformed"),
        (b'{"request": {"uid": "u-1"}, ', "u-1", "Malformed"),
        (b'{"apiVersion": "admission.k8s.io/v1beta1", "request": {"uid": "u-1"}}', "u-1", "Mal"),
        (V1 % b"CREATE", "u-1", "Malformed"),
        (V1 % b"UPDATE", "u-1", "NotOurs"),
    ],
)
def test_what_is_no_review_of_a_new_pod_is_let_in(body: bytes, uid: str, reason: str) -> None:
    async def run(asked: Asking) -> None:
        response = await asked.send(body)

        assert (response["allowed"], response["uid"], "patch" in response) == (True, uid, False)
        ((outcome, counted),) = asked.counted()
        assert (outcome, counted[: len(reason)]) == ("Allowed", reason)

    with_webhook(run)


def test_a_pod_of_many_megabytes_is_let_in_unseen() -> None:
    async def run(asked: Asking) -> None:
        huge = {**review(pod()), "padding": "x" * 5_000_000}
        response = await asked.send(huge)

        assert (response["allowed"], response["uid"]) == (True, UID)
        assert response["warnings"] == [
            "fodc: no agent was put into this pod: the pod is too large to look at"
        ]
        assert asked.counted() == {("Allowed", "TooLarge"): 1}

    with_webhook(run)


def test_a_body_that_says_it_is_too_large_is_answered_before_it_comes() -> None:
    async def run(asked: Asking) -> None:
        reader, writer = await unfinished(asked, says_bytes=5 * 1024 * 1024)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
        said = json.loads(await reader.readexactly(length))["response"]
        writer.close()

        assert (said["uid"], said["allowed"]) == (UID, True)
        assert asked.counted() == {("Allowed", "TooLarge"): 1}

    with_webhook(run, budget_s=30.0)


async def unfinished(
    asked: Asking, *, says_bytes: int = 5000
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A request whose body does not come."""
    host, _, port = asked.listener.address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    start = json.dumps(review(pod())).encode()[:200]
    head = b"POST /inject HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % says_bytes
    writer.write(head + start)
    await writer.drain()
    await until(lambda: asked.figures.in_flight or asked.figures.requests)
    return reader, writer


def test_a_request_that_does_not_end_is_answered_in_time() -> None:
    async def run(asked: Asking) -> None:
        reader, writer = await unfinished(asked)
        head = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

        assert head.startswith(b"HTTP/1.1 200 OK")
        assert asked.counted() == {("Allowed", "TooSlow"): 1}

    with_webhook(run, budget_s=0.2)


def test_what_was_let_in_unseen_is_forgotten_before_the_collector_looks() -> None:
    """A traceback held each body that did not fit in: a flood cost many times what was counted."""
    known: list[weakref.ref[Request]] = []

    async def run(asked: Asking) -> None:
        handler = asked.listener._handler

        async def noted(request: Request) -> Answer:
            known.append(weakref.ref(request))
            return await handler(request)

        asked.listener._handler = noted
        reader, writer = await unfinished(asked)
        await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await until(lambda: not len(asked.listener))
        assert asked.counted() == {("Allowed", "Overloaded"): 1}
        assert [one() for one in known] == [None]

    gc.disable()
    try:
        with_webhook(run, bounds=Bounds(bytes=100))
    finally:
        gc.enable()


def test_more_pods_than_can_be_looked_at_are_let_in_unseen() -> None:
    async def run(asked: Asking) -> None:
        await asked.policy()
        _, writer = await unfinished(asked)
        made, (warning,) = await asked.made(pod())
        writer.close()

        assert agents(made) == 0
        assert warning == "fodc: no agent was put into this pod: too many pods at once"
        assert asked.counted()["Allowed", "Overloaded"] == 1

    with_webhook(run, bounds=Bounds(bodies=1), budget_s=5.0)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(max_examples=12)
@given(
    st.lists(
        st.binary(max_size=200)
        | json_values.map(lambda value: json.dumps(value).encode())
        | json_values.map(lambda value: json.dumps(review(value)).encode())  # type: ignore[arg-type]  # any shape of pod
        | st.dictionaries(
            st.sampled_from(["metadata", "spec", "status"]), json_values, max_size=3
        ).map(lambda value: json.dumps(review(value)).encode()),
        min_size=20,
        max_size=80,
    )
)
def test_whatever_is_sent_the_pod_is_let_in(bodies: list[bytes]) -> None:
    async def run(asked: Asking) -> None:
        for body in bodies:
            response = await asked.send(body)
            assert response["allowed"] is True

    with_webhook(run, watching=False)


@pytest.mark.parametrize("kind", [{"group": {}, "kind": {}}, {"group": ["a"]}, "Pod", None])
def test_a_review_of_a_kind_that_is_no_text_is_not_ours(kind: object) -> None:
    whole = review(pod())
    whole["request"]["kind"] = kind

    assert read_review(whole) is None


def test_a_review_is_read_and_answered_as_the_protocol_says() -> None:
    found = read_review(review(pod(), dry_run=True))

    assert found is not None
    assert (found.uid, found.namespace, found.name, found.is_dry_run) == (
        UID,
        NS,
        "banyandb-data-0",
        True,
    )
    assert json.loads(answer("u-1", warnings=["two\nlines", "", "x" * 300])) == {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {
            "uid": "u-1",
            "allowed": True,
            "warnings": ["two lines", "x" * 255 + "…"],
        },
    }
    with pytest.raises(ReviewError, match="no JSON"):
        json_of(b"{")
