# SPDX-License-Identifier: Apache-2.0
"""Artifacts on disk: whole or not there, through every interruption."""

import asyncio
import errno
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from obstore import exceptions
from obstore.store import MemoryStore

from fodc_protocol.artifacts import Manifest
from fodc_proxy.artifacts import links
from fodc_proxy.artifacts.errors import MissingError, StorageError, told_as_storage_error
from fodc_proxy.artifacts.objects import ObstoreObjects, local_objects
from fodc_proxy.artifacts.partials import Partials
from fodc_proxy.artifacts.store import ArtifactStore, Retention

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

    def __init__(self, inner: ObstoreObjects, dies_at: int) -> None:
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

    async def move(self, source: str, target: str) -> None:
        self._step()
        await self.inner.move(source, target)

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


async def read(store: ArtifactStore, artifact_id: str) -> bytes:
    stored = store.find(artifact_id)
    return b"".join([b async for b in store.stream(stored, 0, stored.manifest.size_bytes)])


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


@pytest.fixture
def content(tmp_path):
    path = tmp_path / "content"
    path.write_bytes(CONTENT)
    return path


def test_committed_artifact_is_listed_read_and_found_after_a_restart(tmp_path, content):
    async def scene():
        store = store_on(local_objects(tmp_path / "s"))
        await store.commit(manifest(), content)
        assert files(tmp_path / "s") == [
            "artifacts/r1/pod-0/cpu-art-1.pb.gz",
            "artifacts/r1/pod-0/cpu-art-1.pb.gz.manifest.json",
        ]
        again = store_on(local_objects(tmp_path / "s"))
        swept = await again.open()
        assert (swept.artifacts, swept.leftovers, swept.damaged) == (1, 0, ())
        assert again.find("art-1") == store.find("art-1")
        assert await read(again, "art-1") == CONTENT
        assert again.by_command() == {"cmd-art-1": manifest()}

    asyncio.run(scene())


@pytest.mark.parametrize("dies_at", [1, 2, 3])
def test_death_between_two_steps_of_a_commit_leaves_nothing(tmp_path, content, dies_at):
    async def scene():
        store = store_on(Dying(local_objects(tmp_path / "s"), dies_at))
        with pytest.raises(StorageError):
            await store.commit(manifest(), content)
        assert store.select() == ()
        assert store.find("art-1") is None
        again = store_on(local_objects(tmp_path / "s"))
        await again.open()
        assert again.select() == ()
        assert files(tmp_path / "s") == []
        await again.commit(manifest(), content)
        assert await read(again, "art-1") == CONTENT

    asyncio.run(scene())


@pytest.mark.parametrize("dies_at", [1, 2])
def test_death_between_two_steps_of_a_removal_leaves_all_or_nothing(tmp_path, content, dies_at):
    async def scene():
        await store_on(local_objects(tmp_path / "s")).commit(manifest(), content)
        store = store_on(Dying(local_objects(tmp_path / "s"), 10**6))
        await store.open()
        store._objects.left = dies_at
        with pytest.raises(StorageError):
            await store.delete("art-1")
        again = store_on(local_objects(tmp_path / "s"))
        await again.open()
        if again.find("art-1") is None:
            assert files(tmp_path / "s") == []
        else:
            assert await read(again, "art-1") == CONTENT

    asyncio.run(scene())


def test_manifest_without_its_bytes_or_with_other_bytes_is_no_artifact(tmp_path, content):
    async def scene():
        store = store_on(local_objects(tmp_path / "s"))
        for name in ("art-1", "art-2"):
            await store.commit(manifest(name), content)
        (tmp_path / "s" / store.find("art-1").key).unlink()
        (tmp_path / "s" / store.find("art-2").key).write_bytes(b"half")
        again = store_on(local_objects(tmp_path / "s"))
        await again.open()
        assert again.select() == ()
        assert files(tmp_path / "s") == []

    asyncio.run(scene())


def test_damaged_manifest_is_told_and_left_alone_with_its_bytes(tmp_path, content):
    async def scene():
        store = store_on(local_objects(tmp_path / "s"))
        await store.commit(manifest(), content)
        key = links.manifest_key(store.find("art-1").key)
        (tmp_path / "s" / key).write_bytes(b'{"version":1,"manifest":{')
        again = store_on(local_objects(tmp_path / "s"))
        swept = await again.open()
        assert swept.damaged == (key,)
        assert again.select() == ()
        assert len(files(tmp_path / "s")) == 2

    asyncio.run(scene())


def test_manifest_cannot_point_to_other_bytes(tmp_path, content):
    async def scene():
        store = store_on(local_objects(tmp_path / "s"))
        await store.commit(manifest(), content)
        stored = store.find("art-1")
        path = tmp_path / "s" / links.manifest_key(stored.key)
        document = json.loads(path.read_bytes())
        path.write_text(json.dumps(document | {"key": "requests/secret.json"}))
        again = store_on(local_objects(tmp_path / "s"))
        await again.open()
        assert again.find("art-1").key == stored.key

    asyncio.run(scene())


def test_second_commit_of_the_same_content_changes_nothing(tmp_path, content):
    async def scene():
        store = store_on(local_objects(tmp_path / "s"))
        await store.commit(manifest(), content)
        store._objects = None
        assert await store.commit(manifest(), content) == manifest()

    asyncio.run(scene())


def test_commit_of_other_content_replaces_the_artifact(tmp_path, content):
    async def scene():
        store = store_on(local_objects(tmp_path / "s"))
        await store.commit(manifest(), content)
        content.write_bytes(b"new")
        await store.commit(manifest(content=b"new"), content)
        assert await read(store, "art-1") == b"new"
        assert len(files(tmp_path / "s")) == 2

    asyncio.run(scene())


def test_filters_are_combined_and_the_newest_comes_first(tmp_path, content):
    async def scene():
        clock = Clock()
        store = store_on(local_objects(tmp_path / "s"), clock)
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
        store = store_on(local_objects(tmp_path / "s"), clock, **limits)
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
        store = store_on(local_objects(tmp_path / "s"), clock, max_count=1)
        for n in range(1, 4):
            clock.now_ms += 1
            await store.commit(manifest(f"art-{n}", request_id=f"r{n}"), content)
        assert await store.retain({"r1"}) == ("art-2", "art-3")

    asyncio.run(scene())


def test_any_store_of_obstore_serves(content):
    async def scene():
        memory = MemoryStore()
        store = store_on(ObstoreObjects(memory))
        await store.commit(manifest(), content)
        again = store_on(ObstoreObjects(memory))
        await again.open()
        assert await read(again, "art-1") == CONTENT
        await again.delete("art-1")
        with pytest.raises(MissingError):
            await again.delete("art-1")

    asyncio.run(scene())


def test_names_from_a_node_cannot_leave_their_folder():
    wild = manifest("art-1", node="../../etc", request_id="a/b", profile="../x")
    assert links.data_key(wild) == "artifacts/a_b/_._.._etc/_._x-art-1.bin"
    assert links.file_name(manifest(pod='a"b\r\n/c')) == "a_b___c-cpu-20270115T080000Z.pb.gz"


# ---- partial bytes ------------------------------------------------------------------------------


def test_partial_bytes_grow_are_verified_and_dropped(tmp_path):
    async def scene():
        partials = Partials(tmp_path / "p")
        await partials.open()
        await partials.append("c", 0, b"abc")
        await partials.append("c", 3, b"def")
        assert await partials.size("c") == 6
        digest = hashlib.sha256(b"abcdef").hexdigest()
        assert (await partials.verify("c", 6, digest)).read_bytes() == b"abcdef"
        for size, sha256 in ((5, digest), (6, "0" * 64)):
            with pytest.raises(StorageError) as caught:
                await partials.verify("c", size, sha256)
            assert caught.value.reason == "ChecksumMismatch"
        await partials.discard("c")
        await partials.discard("c")
        assert await partials.size("c") == 0

    asyncio.run(scene())


def test_partial_bytes_of_a_failed_write_are_written_over(tmp_path):
    async def scene():
        partials = Partials(tmp_path / "p")
        await partials.open()
        await partials.append("c", 0, b"abcXX")
        await partials.append("c", 3, b"def")
        assert partials.path("c").read_bytes() == b"abcdef"
        with pytest.raises(StorageError, match="has 6 bytes, the next belong at 9"):
            await partials.append("c", 9, b"x")

    asyncio.run(scene())


def test_partial_bytes_are_for_their_owner_only(tmp_path):
    async def scene():
        partials = Partials(tmp_path / "p")
        await partials.open()
        await partials.append("c", 0, b"x")
        assert (tmp_path / "p").stat().st_mode & 0o777 == 0o700
        assert partials.path("c").stat().st_mode & 0o777 == 0o600

    asyncio.run(scene())


def test_full_or_forbidden_storage_is_told_with_what_to_do(tmp_path):
    async def scene():
        full = Partials(Path("/dev"))
        full.path = lambda command_id: Path("/dev/full")
        with pytest.raises(StorageError, match="is full; remove artifacts or give it more space"):
            await full.append("c", 0, b"x" * 100)
        (tmp_path / "file").write_text("")
        with pytest.raises(StorageError, match="artifact store failed"):
            await Partials(tmp_path / "file" / "p").open()

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "x"), "is full; remove artifacts"),
        (OSError(errno.EROFS, "x"), "check permissions and credentials"),
        (exceptions.GenericError("No space left on device (os error 28)"), "is full"),
        (exceptions.PermissionDeniedError("x"), "check permissions"),
        (exceptions.GenericError("<Code>AccessDenied</Code>"), "check permissions"),
        (exceptions.GenericError("first line\nDebug source: long"), "store failed: first line"),
        (TimeoutError(), "did not answer in time"),
    ],
)
def test_cause_of_a_storage_failure_is_told_in_one_line(error, message):
    with pytest.raises(StorageError, match=message) as caught, told_as_storage_error("writing x"):
        raise error
    assert "\n" not in caught.value.message


def test_missing_object_is_told_as_missing(tmp_path):
    async def scene():
        objects = local_objects(tmp_path / "s")
        with pytest.raises(MissingError):
            await objects.get("artifacts/nothing")
        await objects.delete("artifacts/nothing")

    asyncio.run(scene())


def test_leftover_of_an_interrupted_write_is_removed_at_the_start(tmp_path):
    staged = tmp_path / "s" / "incoming" / "art-1#1"
    staged.parent.mkdir(parents=True)
    staged.write_bytes(b"half")
    local_objects(tmp_path / "s")
    assert not staged.exists()
