# SPDX-License-Identifier: Apache-2.0
"""kopf in its own thread against an API server in memory: events, stop, crash."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fodc_kube.access import Access
from fodc_operator.handlers import requests
from fodc_operator.handlers.bridge import Bridge
from fodc_operator.handlers.thread import STOP_S, HandlersError, HandlersThread
from fodc_webhook.handlers.framework import settings
from tests.operator.memory_api.peers import a_request
from tests.operator.memory_api.server import REQUESTS, MemoryApi, serving, until_taken

SOON_S = 10.0


class Seen:
    """Takes down what the handlers tell the main loop."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.told: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    async def seen(self, body: Any) -> None:
        assert asyncio.get_running_loop() is self.loop
        self.told.put_nowait(("seen", body["metadata"]["name"]))

    async def gone(self, body: Any) -> None:
        self.told.put_nowait(("gone", body["metadata"]["name"]))

    async def next(self) -> tuple[str, str]:
        async with asyncio.timeout(SOON_S):
            return await self.told.get()


async def ended(running: asyncio.Task[None]) -> None:
    """Ask kopf to end and wait until it has."""
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@contextlib.asynccontextmanager
async def handling(
    namespaces: tuple[str, ...] = (),
) -> AsyncIterator[tuple[MemoryApi, Seen, asyncio.Task[None]]]:
    async with serving() as (api, url):
        seen = Seen()
        thread = HandlersThread(lambda: Access(url), namespaces)
        requests.register(thread.registry, seen, Bridge(asyncio.get_running_loop()))
        running = asyncio.create_task(thread.run())
        try:
            yield api, seen, running
        finally:
            await ended(running)


def test_the_main_loop_hears_of_objects_that_are_there_come_and_go() -> None:
    async def run() -> None:
        async with handling() as (api, seen, _):
            api.store(REQUESTS).create("a", a_request(name="r-1"))
            assert await seen.next() == ("seen", "r-1")
            api.store(REQUESTS).delete("a", "r-1")
            assert await seen.next() == ("gone", "r-1")
            assert api.count("PATCH") == 0

    asyncio.run(run())


def test_only_the_given_namespaces_are_watched() -> None:
    async def run() -> None:
        async with handling(("a", "c")) as (api, seen, _):
            for namespace in ("b", "a", "c"):
                api.store(REQUESTS).create(namespace, a_request(name=f"in-{namespace}"))
            heard = {(await seen.next())[1] for _ in range(2)}

            assert heard == {"in-a", "in-c"}
            assert seen.told.empty()

    asyncio.run(run())


def test_a_cut_watch_and_forgotten_history_lose_nothing() -> None:
    async def run() -> None:
        async with handling() as (api, seen, running):
            api.store(REQUESTS).create("a", a_request(name="r-1"))
            assert await seen.next() == ("seen", "r-1")
            api.store(REQUESTS).create("a", a_request(name="r-2"))
            api.store(REQUESTS).compact()
            api.cut_watches()
            heard = set()
            while "r-2" not in heard:
                heard.add((await seen.next())[1])

            assert not running.done()

    asyncio.run(run())


def test_it_ends_when_asked_and_leaves_other_tasks_alone() -> None:
    async def run() -> None:
        other = asyncio.create_task(asyncio.sleep(60))
        async with handling() as (api, seen, running):
            api.store(REQUESTS).create("a", a_request(name="r-1"))
            await seen.next()
            began = asyncio.get_running_loop().time()
            await ended(running)

            assert asyncio.get_running_loop().time() - began < 3.0
            assert running.cancelled()
        assert not other.done()
        other.cancel()

    asyncio.run(run())


def test_an_end_that_nobody_asked_for_is_an_error() -> None:
    """kopf gives up on a list that is refused in a way that it does not know."""

    async def run() -> None:
        async with handling() as (api, _, running):
            api.fail(410, "GET", "diagnosticrequests", times=1000)
            api.cut_watches()
            with pytest.raises(HandlersError, match="injected"):
                async with asyncio.timeout(SOON_S):
                    await running

    asyncio.run(run())


def test_kopf_may_be_run_again_after_an_end() -> None:
    """K4, K19: CRDs that are deleted under it, or a server that is away, end kopf, not us."""

    async def run() -> None:
        async with serving() as (api, url):
            seen = Seen()
            thread = HandlersThread(lambda: Access(url), ())
            requests.register(thread.registry, seen, Bridge(asyncio.get_running_loop()))
            for name in ("r-1", "r-2"):
                api.store(REQUESTS).create("a", a_request(name=name))
                running = asyncio.create_task(thread.run())
                while (await seen.next())[1] != name:
                    pass
                await ended(running)

    asyncio.run(run())


def test_the_settings_keep_nothing_on_objects_and_need_no_wide_rights() -> None:
    found = settings()

    assert found.peering.standalone
    assert not found.posting.enabled
    assert found.scanning.disabled
    assert found.admission.managed is None
    assert found.networking.request_timeout == 15


# ---- the end while kopf only begins --------------------------------------------------------------


@contextlib.asynccontextmanager
async def mute_server() -> AsyncIterator[tuple[str, asyncio.Event]]:
    """A server that takes connections and never answers; the event says that one has come."""
    came = asyncio.Event()
    writers: list[asyncio.StreamWriter] = []

    async def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        came.set()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", came
    finally:
        server.close()
        await until_taken()
        for writer in writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was told of at warning or above."""
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]


def test_it_ends_at_once_while_the_first_scan_waits_for_an_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its requests would else be waited for while they are repeated on a closed connection."""

    async def run() -> None:
        async with mute_server() as (url, came):
            thread = HandlersThread(lambda: Access(url), ())
            requests.register(thread.registry, Seen(), Bridge(asyncio.get_running_loop()))
            running = asyncio.create_task(thread.run())
            async with asyncio.timeout(SOON_S):
                await came.wait()
            began = asyncio.get_running_loop().time()
            await ended(running)

            assert asyncio.get_running_loop().time() - began < STOP_S
            assert running.cancelled()

    asyncio.run(run())
    assert warnings_of(caplog) == []


@pytest.mark.parametrize("after_s", [0, 0.005, 0.01, 0.02, 0.03, 0.04])
def test_it_ends_at_once_whenever_it_is_asked(
    after_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        async with handling() as (api, _, running):
            api.store(REQUESTS).create("a", a_request(name="r-1"))
            await asyncio.sleep(after_s)
            began = asyncio.get_running_loop().time()
            await ended(running)

            assert asyncio.get_running_loop().time() - began < STOP_S
            assert running.cancelled()

    asyncio.run(run())
    assert warnings_of(caplog) == []


def test_an_event_that_comes_while_the_operator_stops_is_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its handler was told of as failed, with a traceback; the next leader looks at it anyhow."""

    class Closed(Bridge):
        refused = 0

        async def call(self, *told: Any, **more: Any) -> Any:
            try:
                return await super().call(*told, **more)
            finally:
                self.refused += 1

    async def run() -> None:
        async with serving() as (api, url):
            bridge = Closed(asyncio.get_running_loop())
            bridge.close()
            thread = HandlersThread(lambda: Access(url), ())
            requests.register(thread.registry, Seen(), bridge)
            running = asyncio.create_task(thread.run())
            api.store(REQUESTS).create("a", a_request(name="r-1"))
            async with asyncio.timeout(SOON_S):
                while not bridge.refused:
                    await asyncio.sleep(0.005)
            await ended(running)

    asyncio.run(run())
    assert warnings_of(caplog) == []


def test_events_are_no_lines_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """K21: kopf warned of signals at each start and logged a line for each event."""

    async def run() -> None:
        async with handling() as (api, seen, _):
            for number in range(3):
                api.store(REQUESTS).create("a", a_request(name=f"r-{number}"))
                await seen.next()

    with caplog.at_level(logging.INFO):
        asyncio.run(run())
    lines = [one.getMessage() for one in caplog.records if one.name.startswith("kopf")]
    assert [one for one in lines if "r-" in one or "signals" in one] == []


def test_kopf_is_heard_again_after_an_end() -> None:
    async def run() -> None:
        async with handling() as (_, _, running):
            await ended(running)
        assert logging.getLogger("kopf").level == logging.NOTSET

    asyncio.run(run())


def test_it_runs_as_a_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """K17: UID 65532 of the image stands in no list of users."""

    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 65532")

    monkeypatch.setattr("getpass.getuser", nobody)
    monkeypatch.delenv("POD_ID", raising=False)

    async def run() -> None:
        async with handling() as (api, seen, running):
            api.store(REQUESTS).create("a", a_request(name="r-1"))
            told = asyncio.ensure_future(seen.next())
            await asyncio.wait([told, running], return_when=asyncio.FIRST_COMPLETED)
            assert told.done(), running
            assert told.result() == ("seen", "r-1")

    asyncio.run(run())
