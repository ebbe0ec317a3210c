# SPDX-License-Identifier: Apache-2.0
"""Artifacts and requests in a bucket of a server that speaks S3, with fail-overs."""

import asyncio
import hashlib
import json
from pathlib import Path

import aiohttp
import pytest

from e2e.s3_server import S3Server
from fodc_api.words import RequestPhase
from fodc_proxy.hosting import Host
from fodc_proxy.runtime import Proxy
from fodc_proxy.settings import Settings
from fodc_proxy.storage.bucket import BucketObjects, bucket_at
from fodc_proxy.storage.epoch import Patience, Writer
from fodc_proxy.storage.errors import FencedError, HeldError

from ..captures.world import World  # noqa: TID252 - one folder's tests
from ..live import ANYWHERE, fetch  # noqa: TID252 - one folder's tests
from .test_artifacts import manifest, read, store_on

URL = "s3://artifacts/of/one/cluster"
ASKED = {"target": {"all": True}, "captures": [{"profile": "heap"}]}


@pytest.fixture
def s3(monkeypatch):
    with S3Server() as server:
        server.make_bucket("artifacts")
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


def bucket(name: str) -> BucketObjects:
    return bucket_at(URL, Writer(name, f"process {name}"))


def test_an_artifact_of_many_parts_goes_in_and_comes_out_whole(s3, tmp_path):
    async def scene():
        content = hashlib.sha256(b"x").digest() * 500_000
        path = tmp_path / "content"
        path.write_bytes(content)
        first = bucket("a")
        await first.open()
        await store_on(first).commit(manifest(content=content), path)
        await first.close()
        second = bucket("b")
        await second.open()
        store = store_on(second)
        assert (await store.open()).artifacts == 1
        assert await read(store, "art-1") == content
        stored = store.find("art-1")
        part = b"".join([b async for b in store.stream(stored, 7_000_000, 7_000_100)])
        assert part == content[7_000_000:7_000_100]
        await store.delete("art-1")
        assert await second.keys("artifacts") == {}
        await second.close()

    asyncio.run(scene())


def test_conditional_puts_of_s3_fence_an_older_writer(s3):
    async def scene():
        old, new = bucket("a"), bucket("b")
        await old.open()
        await old.put("requests/r1.json", b"1")
        await old.put("requests/r1.json", b"2")
        await new.open(elected=True)
        assert (await new.keys("requests")).keys() == {"requests/r1.json"}
        with pytest.raises(FencedError, match="taken over by process b"):
            await old.put("requests/r1.json", b"3")
        await new.put("requests/r1.json", b"4")
        assert await new.get("requests/r1.json") == b"4"
        await old.close()
        await new.close()

    asyncio.run(scene())


class TwoLeaders(World):
    """A proxy whose every life is another writer with a disk of its own, as on another machine."""

    lives = 0

    def next_store(self) -> BucketObjects:
        self.lives += 1
        return bucket(f"leader-{self.lives}")


def test_a_new_leader_without_a_shared_disk_goes_on_with_what_the_old_one_had_begun(s3, tmp_path):
    async def scene():
        world = TwoLeaders(tmp_path / "first")
        await world.open()
        agent = world.agent("pod-0")
        try:
            await world.ask("done")
            agent.finish(agent.begun[0])
            await world.deliver()
            await world.ask("running")
            # The old leader does not end: it is cut off, and comes back when it is too late.
            old = world.objects.inner
            world.objects.inner = world.next_store()
            agent.session.cut()
            agent.to_agent.clear()
            agent.to_proxy.clear()
            world.linked.clear()
            await world.engine.stop()
            await world.partials.close()
            world.folder = tmp_path / "second"
            world.engine = world._new_engine()
            await world.partials.open()
            await world.objects.open(elected=True)
            await world.store.open()
            await world.engine.open()
            assert world.get("done").phase is RequestPhase.SUCCEEDED
            assert world.get("running").phase is RequestPhase.RUNNING
            with pytest.raises(FencedError):
                await old.put("requests/running.json", b"{}")
            await world.settle()
            assert world.get("running").phase is RequestPhase.SUCCEEDED
            assert len(agent.begun) == 2
            assert len(world.store) == 2
            await old.close()
        finally:
            await world.stop()

    asyncio.run(scene())


async def proxy_on_s3(folder: Path, host: Host | None = None) -> Proxy:
    settings = Settings(ANYWHERE, ANYWHERE, data_dir=str(folder), artifact_store=URL)
    proxy = Proxy(settings, host)
    await proxy.start()
    return proxy


async def post(proxy: Proxy, body: dict) -> tuple[int, str]:
    url = f"http://{proxy.http_address}/diagnostics/requests"
    async with aiohttp.ClientSession() as http, http.post(url, json=body) as answer:
        return answer.status, await answer.text()


def test_a_proxy_that_was_replaced_says_so_and_takes_nothing_more(s3, tmp_path):
    async def scene():
        first = await proxy_on_s3(tmp_path / "a", Host(elected=True))
        assert (await post(first, ASKED | {"id": "before"}))[0] == 201
        second = await proxy_on_s3(tmp_path / "b", Host(elected=True))
        status, text = await post(first, ASKED | {"id": "late"})
        assert (status, "was taken over by process" in text) == (503, True)
        ready = await fetch(first, "/readyz")
        assert (ready.status, "Fenced" in ready.text) == (503, True)
        listed = json.loads((await fetch(second, "/diagnostics/requests")).text)
        assert [one["id"] for one in listed["requests"]] == ["before"]
        assert (await fetch(second, "/readyz")).status == 200
        assert f"kept in {URL}" in (await fetch(second, "/readyz")).text
        await first.stop()
        await second.stop()
        third = await proxy_on_s3(tmp_path / "c")
        assert (await fetch(third, "/readyz")).status == 200
        await third.stop()

    asyncio.run(scene())


def test_a_second_proxy_on_a_bucket_is_refused(s3, tmp_path, monkeypatch):
    async def scene():
        monkeypatch.setattr("fodc_proxy.storage.bucket.Patience", lambda: Patience(beat_s=0.1))
        first = await proxy_on_s3(tmp_path / "a")
        with pytest.raises(HeldError, match=r"in use by process \d+ on .* \(epoch 1\)"):
            await proxy_on_s3(tmp_path / "b")
        await first.stop()

    asyncio.run(scene())


def test_a_store_that_is_away_is_told(s3, tmp_path):
    async def scene():
        proxy = await proxy_on_s3(tmp_path / "a")
        s3.stop()
        status, _ = await post(proxy, ASKED)
        assert status == 503
        ready = await fetch(proxy, "/readyz")
        assert (ready.status, "Away" in ready.text) == (503, True)
        assert 'fodc_proxy_store_state{state="Away"} 1' in (await fetch(proxy, "/metrics")).text
        await proxy.stop()

    asyncio.run(scene())


def test_a_bucket_that_is_not_there_is_told_at_once(s3, tmp_path):
    async def scene():
        settings = Settings(
            ANYWHERE, ANYWHERE, data_dir=str(tmp_path), artifact_store="s3://nothing/here"
        )
        proxy = Proxy(settings)
        await proxy.start()
        ready = await fetch(proxy, "/readyz")
        assert (ready.status, "there is no such bucket: s3://nothing/here" in ready.text) == (
            503,
            True,
        )
        await proxy.stop()

    asyncio.run(scene())
