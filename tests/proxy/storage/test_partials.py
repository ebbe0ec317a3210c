# SPDX-License-Identifier: Apache-2.0
"""Bytes on their way, and causes of failures in words."""

import asyncio
import errno
import hashlib

import pytest

from fodc_proxy.storage.errors import HeldError, StorageError, told_as_storage_error
from fodc_proxy.storage.partials import Partials

from .disks import SimulatedDisk


def test_partial_bytes_grow_are_verified_and_dropped(tmp_path):
    async def scene():
        partials = Partials(tmp_path / "p")
        await partials.open()
        await partials.append("c", 0, b"abc")
        await partials.append("c", 3, b"def")
        assert await partials.sizes() == {"c": 6}
        digest = hashlib.sha256(b"abcdef").hexdigest()
        assert (await partials.verify("c", 6, digest)).read_bytes() == b"abcdef"
        for size, sha256 in ((5, digest), (6, "0" * 64)):
            with pytest.raises(StorageError) as caught:
                await partials.verify("c", size, sha256)
            assert caught.value.reason == "ChecksumMismatch"
        await partials.discard("c")
        await partials.discard("c")
        assert await partials.sizes() == {}

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


def test_full_storage_is_told_with_what_to_do_and_goes_on_when_there_is_room(tmp_path):
    async def scene():
        (tmp_path / "p").mkdir()
        disk = SimulatedDisk(tmp_path)
        partials = Partials(tmp_path / "p", files=disk)
        await partials.open()
        await partials.append("c", 0, b"abc")
        disk.fails_at, disk.fails_for = disk.steps + 1, 1
        with pytest.raises(StorageError, match="is full; remove artifacts or give it more space"):
            await partials.append("c", 3, b"def")
        await partials.append("c", 3, b"def")
        assert await partials.sizes() == {"c": 6}

    asyncio.run(scene())


def test_two_proxies_do_not_share_partial_bytes(tmp_path):
    """Defect P12: the second one swept what the first one was about to store."""

    async def scene():
        first, second = Partials(tmp_path / "p"), Partials(tmp_path / "p")
        await first.open()
        await first.append("c", 0, b"abc")
        with pytest.raises(HeldError, match="in use by process"):
            await second.open()
        await first.close()
        await second.open()
        assert await second.sizes() == {"c": 3}
        await second.close()

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "x"), "is full; remove artifacts"),
        (OSError(errno.EROFS, "x"), "check permissions and credentials"),
        (TimeoutError(), "did not answer in time"),
    ],
)
def test_cause_of_a_storage_failure_is_told_in_one_line(error, message):
    with pytest.raises(StorageError, match=message) as caught, told_as_storage_error("writing x"):
        raise error
    assert "\n" not in caught.value.message
