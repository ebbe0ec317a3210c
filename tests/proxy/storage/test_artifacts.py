# SPDX-License-Identifier: Apache-2.0
"""Artifacts on disk: whole or not there, through every interruption."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fodc_protocol.artifacts import Manifest
from fodc_proxy.storage import names
from fodc_proxy.storage.artifacts import ArtifactStore
from fodc_proxy.storage.errors import StorageError
from fodc_proxy.storage.folder import FolderObjects
from fodc_proxy.storage.retention import Retention

CONTENT = b"profile" * 100
NOW_MS = 1_800_000_000_000


def manifest(name: str = "art-1", *, content: bytes = CONTENT, **facts: object) -> Manifest:
    known = {
        "artifact_id": name,
        "request_id": "r1",
        "command_id": f"cmd-{name}",
        "node": "pod-0",
        "pod": "pod-0",
        "role": "ROLE_DATA",
        "profile": "cpu",
        "format": "pprof",
        "size_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "samples": 5,
        "started_at_ms": NOW_MS,
        "finished_at_ms": NOW_MS + 1000,
        "duration_ms": 1000,
    }
    return Manifest(**(known | facts))


class Dying:
    """Raises at the n-th operation and at all later ones, as a killed process would."""

    def __init__(self, inner: FolderObjects, dies_at: int) -> None:
        self.inner = inner
        self.left = dies_at

    def _step(self) -> None:
        self.left -= 1
        if self.left <= 0:
            raise StorageError("killed here")

    async def put(self, key: str, content: bytes | Path) -> None:
        self._step()
        await self.inner.put(key, content)

    async def get(self, key: str) -> bytes:
        self._step()
        return await self.inner.get(key)

    async def delete(self, key: str) -> None:
        self._step()
        await self.inner.delete(key)

    async def keys(self, prefix: str) -> dict[str, int]:
        self._step()
        return await self.inner.keys(prefix)

    def stream(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        return self.inner.stream(key, start, end)


class Clock:
    def __init__(self) -> None:
        self.now_ms = NOW_MS

    def __call__(self) -> int:
        return self.now_ms


def store_on(objects, clock=None, **retention: int) -> ArtifactStore:
    return ArtifactStore(objects, retention=Retention(**retention), clock_ms=clock or Clock())


async def folder(tmp_path: Path) -> FolderObjects:
    """The folder of a test, as a new life of the program finds it."""
    objects = FolderObjects(tmp_path / "s")
    await asyncio.to_thread(objects._open)
    objects._lock.release()  # the one before is dead, and its lock with it
    return objects


async def read(store: ArtifactStore, artifact_id: str) -> bytes:
    stored = store.find(artifact_id)
    return b"".join([b async for b in store.stream(stored, 0, stored.manifest.size_bytes)])


def files(folder: Path) -> list[str]:
    found = (p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return sorted(name for name in found if name != "lock")


@pytest.fixture
def content(tmp_path):
    path = tmp_path / "content"
    path.write_bytes(CONTENT)
    return path


def test_committed_artifact_is_listed_read_and_found_after_a_restart(tmp_path, content):
    async def scene():
        store = store_on(await folder(tmp_path))
        await store.commit(manifest(), content)
        assert files(tmp_path / "s") == [
            "artifacts/r1/pod-0/cpu-art-1.pb.gz",
            "artifacts/r1/pod-0/cpu-art-1.pb.gz.manifest.json",
        ]
        again = store_on(await folder(tmp_path))
        swept = await again.open()
        assert (swept.artifacts, swept.leftovers, swept.damaged) == (1, 0, 0)
        assert again.find("art-1") == store.find("art-1")
        assert await read(again, "art-1") == CONTENT
        assert again.by_command() == {"cmd-art-1": manifest()}

    asyncio.run(scene())


@pytest.mark.parametrize("dies_at", [1, 2])
def test_death_between_two_steps_of_a_commit_leaves_nothing(tmp_path, content, dies_at):
    async def scene():
        store = store_on(Dying(await folder(tmp_path), dies_at))
        with pytest.raises(StorageError):
            await store.commit(manifest(), content)
        assert store.select() == ()
        assert store.find("art-1") is None
        again = store_on(await folder(tmp_path))
        await again.open()
        assert again.select() == ()
        assert files(tmp_path / "s") == []
        await again.commit(manifest(), content)
        assert await read(again, "art-1") == CONTENT

    asyncio.run(scene())


@pytest.mark.parametrize("dies_at", [1, 2])
def test_death_between_two_steps_of_a_removal_leaves_all_or_nothing(tmp_path, content, dies_at):
    async def scene():
        await store_on(await folder(tmp_path)).commit(manifest(), content)
        store = store_on(Dying(await folder(tmp_path), 10**6))
        await store.open()
        store._objects.left = dies_at
        with pytest.raises(StorageError):
            await store.delete("art-1")
        again = store_on(await folder(tmp_path))
        await again.open()
        if again.find("art-1") is None:
            assert files(tmp_path / "s") == []
        else:
            assert await read(again, "art-1") == CONTENT

    asyncio.run(scene())


def test_bytes_that_are_gone_or_short_make_an_artifact_damaged_and_delete_nothing(
    tmp_path, content
):
    """Defect P12: the manifest was deleted at INFO while its request said Succeeded."""

    async def scene():
        store = store_on(await folder(tmp_path))
        for name in ("art-1", "art-2", "art-3"):
            await store.commit(manifest(name), content)
        (tmp_path / "s" / store.find("art-1").key).unlink()
        (tmp_path / "s" / store.find("art-2").key).write_bytes(b"half")
        before = files(tmp_path / "s")
        again = store_on(await folder(tmp_path))
        swept = await again.open()
        assert (swept.artifacts, swept.damaged, swept.leftovers) == (3, 2, 0)
        assert again.find("art-1").damage == "its bytes are gone"
        assert again.find("art-2").damage == "4 of 700 bytes are there"
        assert again.find("art-3").damage == ""
        assert files(tmp_path / "s") == before
        assert again.by_command().keys() == {"cmd-art-3"}

    asyncio.run(scene())


def test_altered_bytes_are_found_when_they_are_read_and_the_last_block_is_kept_back(
    tmp_path, content
):
    async def scene():
        store = store_on(await folder(tmp_path))
        await store.commit(manifest(), content)
        (tmp_path / "s" / store.find("art-1").key).write_bytes(CONTENT[:-1] + b"X")
        with pytest.raises(StorageError, match="SHA-256 differs"):
            await read(store, "art-1")
        assert "not those that were stored" in store.find("art-1").damage

    asyncio.run(scene())


def test_everything_is_read_once_after_a_start_so_altered_bytes_are_known_before_they_are_wanted(
    tmp_path, content
):
    async def scene():
        store = store_on(await folder(tmp_path))
        await store.commit(manifest("art-1"), content)
        await store.commit(manifest("art-2"), content)
        (tmp_path / "s" / store.find("art-2").key).write_bytes(b"X" * len(CONTENT))
        again = store_on(await folder(tmp_path))
        assert (await again.open()).damaged == 0
        assert [await again.verify_next() for _ in range(3)] == [True, True, False]
        assert [bool(again.find(one).damage) for one in ("art-1", "art-2")] == [False, True]

    asyncio.run(scene())


def test_a_damaged_artifact_is_whole_again_when_its_agent_sends_the_bytes_again(tmp_path, content):
    async def scene():
        store = store_on(await folder(tmp_path))
        await store.commit(manifest(), content)
        (tmp_path / "s" / store.find("art-1").key).write_bytes(b"half")
        again = store_on(await folder(tmp_path))
        await again.open()
        await again.commit(manifest(), content)
        assert (again.damaged, await read(again, "art-1")) == (0, CONTENT)

    asyncio.run(scene())


@pytest.mark.parametrize(
    "damage",
    [
        b'{"version":1,"manifest":{',
        b"[]",
        b'{"version":2}',
        b'{"version":1,"stored_at_ms":"now","manifest":{}}',
        b'{"version":1,"stored_at_ms":1,"manifest":[]}',
        b'{"version":1,"stored_at_ms":1,"manifest":{"node":"\\ud800"}}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_a_manifest_that_cannot_be_read_is_told_hides_no_other_and_is_left_alone(
    tmp_path, content, damage
):
    """Defect P2, its half of stored records."""

    async def scene():
        store = store_on(await folder(tmp_path))
        await store.commit(manifest("art-1"), content)
        await store.commit(manifest("art-2"), content)
        key = names.manifest_key(store.find("art-1").key)
        (tmp_path / "s" / key).write_bytes(damage)
        again = store_on(await folder(tmp_path))
        await again.open()
        assert [one.key for one in again.unreadable] == [key]
        assert again.unreadable[0].message
        assert [one.manifest.artifact_id for one in again.select()] == ["art-2"]
        assert len(files(tmp_path / "s")) == 4

    asyncio.run(scene())


def test_manifest_cannot_point_to_other_bytes(tmp_path, content):
    async def scene():
        store = store_on(await folder(tmp_path))
        await store.commit(manifest(), content)
        stored = store.find("art-1")
        path = tmp_path / "s" / names.manifest_key(stored.key)
        document = json.loads(path.read_bytes())
        path.write_text(json.dumps(document | {"key": "requests/secret.json"}))
        again = store_on(await folder(tmp_path))
        await again.open()
        assert again.find("art-1").key == stored.key

    asyncio.run(scene())


def test_second_commit_of_the_same_content_changes_nothing(tmp_path, content):
    async def scene():
        store = store_on(await folder(tmp_path))
        await store.commit(manifest(), content)
        store._objects = None
        assert await store.commit(manifest(), content) == manifest()

    asyncio.run(scene())


def test_commit_of_other_content_replaces_the_artifact(tmp_path, content):
    async def scene():
        store = store_on(await folder(tmp_path))
        await store.commit(manifest(), content)
        content.write_bytes(b"new")
        await store.commit(manifest(content=b"new"), content)
        assert await read(store, "art-1") == b"new"
        assert len(files(tmp_path / "s")) == 2

    asyncio.run(scene())


def test_filters_are_combined_and_the_newest_comes_first(tmp_path, content):
    async def scene():
        clock = Clock()
        store = store_on(await folder(tmp_path), clock)
        for name, facts in {
            "art-1": {},
            "art-2": {"node": "pod-1", "pod": "pod-1"},
            "art-3": {"profile": "heap"},
            "art-4": {"request_id": "r2"},
            "art-5": {"node": "one/pod-2", "pod": "pod-2", "namespace": "one"},
            "art-6": {"node": "pod-3", "pod": "pod-3", "namespace": "two"},
        }.items():
            clock.now_ms += 1
            await store.commit(manifest(name, **facts), content)
        listed = lambda **f: [s.manifest.artifact_id for s in store.select(**f)]  # noqa: E731 - one expression
        assert listed() == ["art-6", "art-5", "art-4", "art-3", "art-2", "art-1"]
        assert listed(node_id="pod-2") == listed(node_id="one/pod-2") == ["art-5"]
        assert listed(node_id="two/pod-3") == listed(node_id="pod-3") == ["art-6"]
        assert listed(node_id="pod-0", request_id="r1") == ["art-3", "art-1"]
        assert listed(profile="heap") == ["art-3"]
        assert listed(node_id="pod-9") == []

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("limits", "left"),
    [
        ({"max_count": 2}, ["art-4", "art-3"]),
        ({"max_bytes": 3 * len(CONTENT)}, ["art-4", "art-3", "art-2"]),
        ({"max_age_ms": 1000}, ["art-4", "art-3"]),
        ({}, ["art-4", "art-3", "art-2", "art-1"]),
    ],
)
def test_retention_ends_the_oldest_first(tmp_path, content, limits, left):
    async def scene():
        clock = Clock()
        store = store_on(await folder(tmp_path), clock, **limits)
        for n in range(1, 5):
            clock.now_ms += 1000
            await store.commit(manifest(f"art-{n}"), content)
        gone = await store.retain(())
        assert [s.manifest.artifact_id for s in store.select()] == left
        assert len(gone) == 4 - len(left)

    asyncio.run(scene())


def test_retention_spares_running_requests(tmp_path, content):
    async def scene():
        clock = Clock()
        store = store_on(await folder(tmp_path), clock, max_count=1)
        for n in range(1, 4):
            clock.now_ms += 1
            await store.commit(manifest(f"art-{n}", request_id=f"r{n}"), content)
        assert await store.retain({"r1"}) == ("art-2", "art-3")

    asyncio.run(scene())


def test_names_from_a_node_cannot_leave_their_folder():
    wild = manifest("art-1", node="../../etc", request_id="a/b", profile="../x")
    assert names.data_key(wild) == "artifacts/a_b/_._.._etc/_._x-art-1.bin"
    assert names.file_name(manifest(pod='a"b\r\n/c')) == "a_b___c-cpu-20270115T080000Z.pb.gz"
