# SPDX-License-Identifier: Apache-2.0
"""A folder through power cuts, full disks and second writers."""

import asyncio
import errno
import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fodc_proxy.storage.artifacts import ArtifactStore
from fodc_proxy.storage.errors import (
    HeldError,
    MissingError,
    StorageError,
    Trouble,
    told_as_storage_error,
)
from fodc_proxy.storage.files import RealFiles
from fodc_proxy.storage.folder import FolderObjects
from fodc_proxy.storage.health import WatchedObjects
from fodc_proxy.storage.records import Records

from .disks import SimulatedDisk
from .test_artifacts import manifest

STEPS = st.lists(
    st.tuples(st.sampled_from(["commit", "delete", "save", "remove"]), st.integers(0, 2)),
    min_size=1,
    max_size=12,
)


def content_of(number: int) -> bytes:
    return hashlib.sha256(bytes([number])).digest() * (40_000 * number + 1)


@dataclass(frozen=True)
class Note:
    id: str
    version: int


@dataclass
class Life:
    """One life of a program on a disk, and what it was told to be durable."""

    disk: SimulatedDisk
    # What is acknowledged; what an operation that was under way may have made of it.
    artifacts: dict[int, set[bool]] = field(default_factory=dict)
    records: dict[str, set[int | None]] = field(default_factory=dict)
    version: int = 0

    async def open(self) -> None:
        self.objects = FolderObjects(self.disk.root / "s", files=self.disk)
        self.store = ArtifactStore(self.objects, clock_ms=lambda: 1)
        self.notes = Records(self.objects, lambda note: str(note.version).encode(), int)
        await self.objects.open()
        self.swept = await self.store.open()
        self.found = {key: await self.objects.get(key) for key in await self._note_keys()}

    async def _note_keys(self) -> dict[str, int]:
        return await self.objects.keys("requests")

    async def close(self) -> None:
        await self.objects.close()

    async def step(self, what: str, number: int) -> None:
        """Do it, and note what has to be there from now on."""
        match what:
            case "commit" | "delete":
                before = self.artifacts.setdefault(number, {False})
                self.artifacts[number] = before | {what == "commit"}
                await (self._commit(number) if what == "commit" else self._delete(number))
                self.artifacts[number] = {what == "commit"}
            case "save":
                self.version += 1
                self.records[f"r{number}"] = self._may_be(number) | {self.version}
                await self.notes.save(Note(f"r{number}", self.version))
                self.records[f"r{number}"] = {self.version}
            case "remove":
                self.records[f"r{number}"] = self._may_be(number) | {None}
                await self.notes.remove(f"r{number}")
                self.records[f"r{number}"] = {None}

    def _may_be(self, number: int) -> set[int | None]:
        return self.records.get(f"r{number}", {None})

    async def _commit(self, number: int) -> None:
        content, path = content_of(number), self.disk.root / f"content-{number}"
        self.disk.append(path, 0, content)
        about = manifest(f"art-{number}", content=content, request_id=f"r{number}")
        await self.store.commit(about, path)

    async def _delete(self, number: int) -> None:
        try:
            await self.store.delete(f"art-{number}")
        except MissingError:
            return

    async def check(self) -> None:
        """Hold what is there after a start against what was promised before."""
        assert (self.swept.damaged, self.store.unreadable) == (0, ())
        for number, may_be in self.artifacts.items():
            stored = self.store.find(f"art-{number}")
            assert (stored is not None) in may_be
            if stored is not None:
                size = stored.manifest.size_bytes
                read = b"".join([b async for b in self.store.stream(stored, 0, size)])
                assert read == content_of(number)
        for name, may_be in self.records.items():
            data = self.found.get(f"requests/{name}.json")
            assert (None if data is None else int(data)) in may_be
        assert not self.disk.sizes(self.disk.root / "s" / "staged")


@settings(max_examples=150)
@given(steps=STEPS, dies_at=st.integers(1, 120), data=st.data())
def test_whatever_was_acknowledged_before_a_power_cut_is_there_after_it(
    tmp_path_factory, steps, dies_at, data
):
    """Defect P12: nothing was synced, so a power cut lost what was acknowledged."""

    async def scene():
        root = tmp_path_factory.mktemp("disk")
        (root / "s").mkdir()
        life = Life(SimulatedDisk(root))
        await life.open()
        life.disk.dies_at = life.disk.steps + dies_at
        for what, number in steps:
            try:
                await life.step(what, number)
            except (StorageError, OSError):
                assert life.disk.dead
                break
        await life.close()
        life.disk.dead = True
        life.disk.cut_power(lambda below: data.draw(st.integers(0, below - 1)))
        await life.open()
        await life.check()
        await life.close()

    asyncio.run(scene())


@pytest.mark.parametrize("fails_for", [1, 10**6])
@pytest.mark.parametrize("fails_at", range(1, 16))
def test_a_disk_that_is_full_at_any_call_leaves_nothing_half_done(tmp_path, fails_at, fails_for):
    async def scene():
        (tmp_path / "s").mkdir()
        life = Life(SimulatedDisk(tmp_path))
        await life.open()
        await life.step("commit", 0)
        life.disk.fails_at, life.disk.fails_for = life.disk.steps + fails_at + 1, fails_for
        failed = False
        try:
            await life.step("commit", 1)
        except (StorageError, OSError):
            failed = True
        assert (life.store.find("art-1") is None) is failed
        life.disk.fails_for = 0
        await life.close()
        await life.open()
        assert len(life.store) == (1 if failed else 2)
        await life.step("commit", 1)
        await life.check()
        await life.close()

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("number", "trouble", "words"),
    [
        (errno.ENOSPC, Trouble.FULL, "is full; remove artifacts or give it more space"),
        (errno.EROFS, Trouble.DENIED, "check permissions"),
        (errno.EIO, Trouble.FAILED, "the artifact store failed"),
    ],
)
def test_a_store_in_trouble_says_so_until_a_write_succeeds(tmp_path, number, trouble, words):
    """Defects P13, P24."""

    async def scene():
        (tmp_path / "s").mkdir()
        disk = SimulatedDisk(tmp_path)
        objects = WatchedObjects(FolderObjects(tmp_path / "s", files=disk))
        await objects.open()
        disk.fails_at, disk.fails_for, disk.fault = 1, 10**6, number
        with pytest.raises(StorageError, match=words):
            await objects.put("requests/r1.json", b"{}")
        assert objects.trouble is trouble
        assert words in objects.message
        await objects.probe()
        assert objects.trouble is trouble
        disk.fails_for = 0
        await objects.probe()
        assert (objects.trouble, objects.message) == (Trouble.NONE, "")
        await objects.close()

    asyncio.run(scene())


def test_a_store_that_hangs_is_away_and_keeps_nobody_waiting(tmp_path):
    async def scene():
        over = asyncio.Event()
        loop = asyncio.get_running_loop()

        class Hanging(RealFiles):
            def write(self, path, blocks):
                asyncio.run_coroutine_threadsafe(over.wait(), loop).result(20)

        folder = FolderObjects(tmp_path / "s", files=Hanging())
        objects = WatchedObjects(folder)
        await objects.open()
        folder._timeout_s = 0.05
        with pytest.raises(StorageError, match="did not answer in time"):
            await objects.put("requests/r1.json", b"{}")
        assert objects.trouble is Trouble.AWAY
        over.set()
        await objects.close()

    asyncio.run(scene())


# ---- one writer ---------------------------------------------------------------------------------


def test_a_second_writer_is_refused_and_told_who_writes(tmp_path):
    """Defect P12: two proxies on one folder swept each other's bytes."""

    async def scene():
        first, second = FolderObjects(tmp_path / "s"), FolderObjects(tmp_path / "s")
        await first.open()
        with pytest.raises(HeldError, match=f"in use by process {os.getpid()} on "):
            await second.open()
        await first.close()
        await second.open()
        await second.close()

    asyncio.run(scene())


def test_an_elected_writer_waits_until_the_one_before_has_ended(tmp_path):
    async def scene():
        first = FolderObjects(tmp_path / "s")
        second = FolderObjects(tmp_path / "s", handover_s=20)
        await first.open()
        taking = asyncio.create_task(second.open(elected=True))
        await asyncio.sleep(0)
        assert not taking.done()
        await first.close()
        await asyncio.wait_for(taking, 10)
        await second.close()
        late = FolderObjects(tmp_path / "s", handover_s=0.01)
        third = FolderObjects(tmp_path / "s")
        await third.open()
        with pytest.raises(HeldError):
            await late.open(elected=True)
        await third.close()

    asyncio.run(scene())


def test_a_lock_file_with_anything_in_it_is_no_matter(tmp_path):
    async def scene():
        (tmp_path / "s").mkdir()
        for words in (b"", b"\xff" * 2000, b"[]", json.dumps({"pid": "x"}).encode()):
            (tmp_path / "s" / "lock").write_bytes(words)
            one = FolderObjects(tmp_path / "s")
            await one.open()
            await one.close()

    asyncio.run(scene())


# ---- files --------------------------------------------------------------------------------------


def test_a_key_is_stored_replaced_listed_read_in_parts_and_removed_with_its_folders(tmp_path):
    async def scene():
        objects = FolderObjects(tmp_path / "s")
        await objects.open()
        await objects.put("a/b/c", b"first")
        await objects.put("a/b/c", b"0123456789" * 100_000)
        assert await objects.keys("a") == {"a/b/c": 1_000_000}
        assert await objects.keys("nothing") == {}
        blocks = [block async for block in objects.stream("a/b/c", 5, 700_005)]
        assert b"".join(blocks) == (b"5678901234" * 70_000)
        assert max(len(block) for block in blocks) <= 256 * 1024
        await objects.delete("a/b/c")
        await objects.delete("a/b/c")
        assert not (tmp_path / "s" / "a").exists()
        with pytest.raises(MissingError):
            await objects.get("a/b/c")
        await objects.close()

    asyncio.run(scene())


def test_what_is_stored_is_for_its_owner_only(tmp_path):
    async def scene():
        objects = FolderObjects(tmp_path / "s")
        await objects.open()
        await objects.put("a/b", b"x")
        modes = {p.stat().st_mode & 0o777 for p in (tmp_path / "s" / "a", tmp_path / "s")}
        assert modes == {0o700}
        assert (tmp_path / "s" / "a" / "b").stat().st_mode & 0o777 == 0o600
        await objects.close()

    asyncio.run(scene())


def test_what_an_interrupted_write_left_is_removed_at_the_start(tmp_path):
    async def scene():
        left = tmp_path / "s" / "staged" / "7"
        left.parent.mkdir(parents=True)
        left.write_bytes(b"half")
        objects = FolderObjects(tmp_path / "s")
        await objects.open()
        assert not left.exists()
        await objects.close()

    asyncio.run(scene())


def test_a_folder_that_cannot_be_is_told(tmp_path):
    async def scene():
        (tmp_path / "file").write_text("")
        with pytest.raises(StorageError, match="the artifact store failed"):
            await FolderObjects(tmp_path / "file" / "s").open()
        with pytest.raises(StorageError, match="is full"), told_as_storage_error("writing"):
            RealFiles().write(Path("/dev/full"), [b"x"])

    asyncio.run(scene())
