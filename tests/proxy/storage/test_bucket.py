# SPDX-License-Identifier: Apache-2.0
"""Buckets with one writer, on a store in memory that knows conditional puts as S3 does."""

import asyncio

import pytest
from obstore import exceptions
from obstore.store import MemoryStore

from fodc_proxy.storage.artifacts import ArtifactStore
from fodc_proxy.storage.bucket import BucketObjects, bucket_at
from fodc_proxy.storage.calls import told
from fodc_proxy.storage.epoch import Patience, Writer
from fodc_proxy.storage.errors import FencedError, HeldError, MissingError, StorageError, Trouble
from fodc_proxy.storage.health import WatchedObjects

from .test_artifacts import CONTENT, manifest, read, store_on

QUICK = Patience(beat_s=0.02, silence_s=5, timeout_s=5)
SLOW = Patience(beat_s=60, silence_s=2, timeout_s=5)


def writer(store: MemoryStore, name: str, patience: Patience = SLOW) -> BucketObjects:
    return BucketObjects(store, "memory", Writer(name, f"process {name}"), patience=patience)


def test_a_bucket_serves_as_a_folder_does(tmp_path):
    async def scene():
        memory = MemoryStore()
        path = tmp_path / "content"
        path.write_bytes(CONTENT)
        first = writer(memory, "a")
        await first.open()
        store = ArtifactStore(first, clock_ms=lambda: 1)
        await store.commit(manifest(), path)
        await first.close()
        second = writer(memory, "b")
        await second.open()
        again = store_on(second)
        assert (await again.open()).artifacts == 1
        assert await read(again, "art-1") == CONTENT
        assert [block async for block in second.stream(again.find("art-1").key, 5, 5)] == []
        await again.delete("art-1")
        with pytest.raises(MissingError):
            await again.delete("art-1")
        assert await second.keys("artifacts") == {}
        with pytest.raises(MissingError):
            await second.get("artifacts/nothing")
        await second.delete("artifacts/nothing")
        await second.close()

    asyncio.run(scene())


def test_a_second_writer_is_refused_as_soon_as_the_first_shows_that_it_lives():
    async def scene():
        memory = MemoryStore()
        first, second = writer(memory, "a", QUICK), writer(memory, "b", QUICK)
        await first.open()
        with pytest.raises(HeldError, match=r"in use by process a \(epoch 1\)"):
            await second.open()
        await first.put("requests/r1.json", b"1")
        await first.close()
        await second.open()
        assert await second.get("requests/r1.json") == b"1"
        await second.close()

    asyncio.run(scene())


def test_a_writer_that_died_is_outwaited_and_one_of_the_same_data_folder_is_not():
    async def scene():
        memory = MemoryStore()
        await writer(memory, "a").open()
        again = writer(memory, "a")
        await asyncio.wait_for(again.open(), 1.5)
        other = writer(memory, "b")
        await other.open()
        with pytest.raises(FencedError, match=r"taken over by process b \(epoch 3\)"):
            await again.put("requests/r1.json", b"late")
        await other.close()

    asyncio.run(scene())


def test_an_old_writer_finds_out_before_it_changes_anything():
    async def scene():
        memory = MemoryStore()
        old = WatchedObjects(writer(memory, "a"))
        new = writer(memory, "b")
        await old.open()
        await old.put("requests/r1.json", b"old")
        await new.open(elected=True)
        await new.keys("requests")
        for change in (
            old.put("requests/r1.json", b"late"),
            old.put("requests/r2.json", b"late"),
            old.delete("requests/r1.json"),
        ):
            with pytest.raises(FencedError):
                await change
        assert old.trouble is Trouble.FENCED
        await old.probe()
        assert old.trouble is Trouble.FENCED
        await new.put("requests/r1.json", b"new")
        assert await new.get("requests/r1.json") == b"new"
        assert (await new.keys("requests")).keys() == {"requests/r1.json"}
        await old.close()
        assert (await new._epoch._seen()).writer.released is False
        await new.close()

    asyncio.run(scene())


def test_a_write_that_was_on_its_way_at_the_take_over_does_not_outlive_it(monkeypatch):
    """The old one has looked and goes on to write; the new one's truth wins with its next write."""

    async def scene():
        memory = MemoryStore()
        old, new = writer(memory, "a"), writer(memory, "b")
        await old.open()
        await old.put("requests/r1.json", b"1")
        await new.open(elected=True)
        await new.keys("requests")

        async def looked() -> None:
            """What it saw before the other one came."""

        monkeypatch.setattr(old._epoch, "check", looked)
        await old.put("requests/r1.json", b"late")
        await new.put("requests/r1.json", b"2")
        assert await new.get("requests/r1.json") == b"2"
        monkeypatch.undo()
        with pytest.raises(FencedError):
            await old.put("requests/r1.json", b"later")
        await new.close()

    asyncio.run(scene())


def test_two_that_start_at_once_do_not_both_write():
    async def scene():
        memory = MemoryStore()
        several = [writer(memory, name, QUICK) for name in "abcd"]
        ended = await asyncio.gather(*(one.open() for one in several), return_exceptions=True)
        assert [type(one) for one in ended].count(type(None)) == 1
        assert [type(one) for one in ended].count(HeldError) == 3
        for one in several:
            await one.close()

    asyncio.run(scene())


def test_a_lost_answer_to_a_beat_does_not_end_a_writer():
    async def scene():
        memory = MemoryStore()
        one = writer(memory, "a")
        await one.open()
        before = one._epoch._mine
        await one._epoch._beat()
        one._epoch._mine = before
        await one._epoch._beat()
        await one._epoch._beat()
        await one.put("requests/r1.json", b"1")
        await one.close()

    asyncio.run(scene())


def test_a_mark_of_a_writer_that_cannot_be_read_is_told_and_left_alone():
    async def scene():
        memory = MemoryStore()
        await memory.put_async("writer.json", b"[]")
        with pytest.raises(StorageError, match=r"writer\.json in memory is no record of a writer"):
            await writer(memory, "a").open(elected=True)

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("error", "trouble", "message"),
    [
        (exceptions.GenericError("No space left (os error 28)"), Trouble.FULL, "is full"),
        (exceptions.PermissionDeniedError("x"), Trouble.DENIED, "check permissions"),
        (exceptions.GenericError("<Code>AccessDenied</Code>"), Trouble.DENIED, "credentials"),
        (exceptions.GenericError("error sending request"), Trouble.AWAY, "did not answer"),
        (exceptions.GenericError("first\nDebug source: long"), Trouble.FAILED, "failed: first"),
        (TimeoutError(), Trouble.AWAY, "did not answer in time"),
    ],
)
def test_cause_of_a_failure_is_told_in_one_line(error, trouble, message):
    with pytest.raises(StorageError, match=message) as caught, told("writing x"):
        raise error
    assert (caught.value.trouble, "\n" in caught.value.message) == (trouble, False)


def test_a_url_that_no_store_understands_is_told():
    with pytest.raises(StorageError, match="--artifact-store"):
        bucket_at("s3:///", Writer("a", "a"))
