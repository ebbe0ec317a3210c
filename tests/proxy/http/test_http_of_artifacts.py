# SPDX-License-Identifier: Apache-2.0
"""The routes of /artifacts over a real server."""

import asyncio
import base64
import hashlib

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from fodc_proxy.http.artifacts import Span, asked_span
from fodc_proxy.http.listener import WebServer
from fodc_proxy.storage.errors import StorageError

from ..served import app_of  # noqa: TID252 - one folder's tests
from ..storage.test_artifacts import NOW_MS, folder, manifest, store_on  # noqa: TID252 - one folder's tests

CONTENT = bytes(range(256)) * 4000


def served(tmp_path, scene):
    async def run():
        store = store_on(await folder(tmp_path))
        path = tmp_path / "content"
        path.write_bytes(CONTENT)
        await store.commit(manifest(content=CONTENT), path)
        server = WebServer(app_of(store=store))
        await server.start("127.0.0.1", 0)
        try:
            async with aiohttp.ClientSession(
                f"http://{server.address}", auto_decompress=False
            ) as http:
                await scene(store, http)
        finally:
            await server.stop()

    asyncio.run(run())


def test_download_carries_length_name_tag_and_digest(tmp_path):
    async def scene(_, http):
        digest = hashlib.sha256(CONTENT)
        for method in ("GET", "HEAD"):
            async with http.request(method, "/artifacts/art-1") as answer:
                assert answer.status == 200
                assert await answer.read() == (CONTENT if method == "GET" else b"")
                headers = answer.headers
            assert headers["Content-Length"] == str(len(CONTENT))
            assert headers["ETag"] == f'"{digest.hexdigest()}"'
            told = base64.b64encode(digest.digest()).decode()
            assert headers["Repr-Digest"] == f"sha-256=:{told}:"
            assert headers["Content-Type"] == "application/gzip"
            assert headers["Content-Disposition"] == (
                'attachment; filename="pod-0-cpu-20270115T080000Z.pb.gz"'
            )

    served(tmp_path, scene)


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=5-9", 5, 10),
        ("bytes=1023990-", 1_023_990, 1_024_000),
        ("bytes=-10", 1_023_990, 1_024_000),
        ("bytes=1000000-9999999", 1_000_000, 1_024_000),
    ],
)
def test_range_is_answered_with_its_part(tmp_path, header, start, end):
    async def scene(_, http):
        async with http.get("/artifacts/art-1", headers={"Range": header}) as answer:
            assert answer.status == 206
            assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/1024000"
            assert await answer.read() == CONTENT[start:end]

    served(tmp_path, scene)


@pytest.mark.parametrize("header", ["bytes=1024000-", "bytes=1024000-1024001", "bytes=-0"])
def test_range_beyond_the_end_is_refused_with_the_size(tmp_path, header):
    async def scene(_, http):
        async with http.get("/artifacts/art-1", headers={"Range": header}) as answer:
            assert answer.status == 416
            assert answer.headers["Content-Range"] == "bytes */1024000"
            assert (await answer.json())["error"]["field"] == "Range"

    served(tmp_path, scene)


@pytest.mark.parametrize("header", ["bytes=0-1,5-6", "lines=1-2", "bytes=-", "bytes=9-5", "junk"])
def test_range_that_is_not_understood_is_ignored(tmp_path, header):
    async def scene(_, http):
        async with http.get("/artifacts/art-1", headers={"Range": header}) as answer:
            assert (answer.status, len(await answer.read())) == (200, 1_024_000)

    served(tmp_path, scene)


def test_conditions_on_the_tag_are_honored(tmp_path):
    async def scene(_, http):
        tag = f'"{hashlib.sha256(CONTENT).hexdigest()}"'
        async with http.get("/artifacts/art-1", headers={"If-None-Match": tag}) as answer:
            assert (answer.status, answer.headers["ETag"]) == (304, tag)
        changed = {"Range": "bytes=0-0", "If-Range": '"other"'}
        async with http.get("/artifacts/art-1", headers=changed) as answer:
            assert answer.status == 200
        same = {"Range": "bytes=0-0", "If-Range": tag}
        async with http.get("/artifacts/art-1", headers=same) as answer:
            assert answer.status == 206

    served(tmp_path, scene)


@pytest.mark.parametrize("form", ["*", "W/{}", '"other", {}', 'W/"other", W/{}'])
def test_tags_that_a_caller_has_may_be_a_list_and_weak(tmp_path, form):
    """Defect P14."""

    async def scene(_, http):
        tags = form.format(f'"{hashlib.sha256(CONTENT).hexdigest()}"')
        async with http.get("/artifacts/art-1", headers={"If-None-Match": tags}) as answer:
            assert answer.status == 304

    served(tmp_path, scene)


def test_range_is_for_get_only_and_a_weak_tag_is_no_ground_for_a_part(tmp_path):
    """Defect P14: HEAD with Range was answered 206 (RFC 9110 §14.2, §13.1.5)."""

    async def scene(_, http):
        async with http.head("/artifacts/art-1", headers={"Range": "bytes=0-9"}) as answer:
            assert (answer.status, answer.headers["Content-Length"]) == (200, "1024000")
        weak = f'W/"{hashlib.sha256(CONTENT).hexdigest()}"'
        for condition in (weak, "Sat, 29 Nov 2031 08:00:00 GMT"):
            headers = {"Range": "bytes=0-9", "If-Range": condition}
            async with http.get("/artifacts/art-1", headers=headers) as answer:
                assert answer.status == 200

    served(tmp_path, scene)


def test_list_and_manifest_tell_what_is_known(tmp_path):
    async def scene(_, http):
        async with http.get("/artifacts", params={"node_id": "pod-0"}) as answer:
            (listed,) = (await answer.json())["artifacts"]
        async with http.get("/artifacts/art-1/manifest") as answer:
            assert await answer.json() == listed
        assert (listed["node_id"], listed["samples"], listed["duration_seconds"]) == ("pod-0", 5, 1)
        assert listed["created_at"] == "2027-01-15T08:00:00.000Z"
        assert NOW_MS == 1_800_000_000_000
        async with http.get("/artifacts", params={"profile": "trace"}) as answer:
            assert await answer.json() == {"artifacts": [], "unreadable": []}

    served(tmp_path, scene)


def test_removed_artifact_is_gone(tmp_path):
    async def scene(store, http):
        async with http.delete("/artifacts/art-1") as answer:
            assert (answer.status, await answer.read()) == (204, b"")
        assert store.select() == ()
        for method in ("GET", "HEAD", "DELETE"):
            async with http.request(method, "/artifacts/art-1") as answer:
                assert answer.status == 404

    served(tmp_path, scene)


@pytest.mark.parametrize("path", ["/artifacts/nothing", "/artifacts/..%2f..%2fetc/manifest"])
def test_unknown_artifact_is_not_found(tmp_path, path):
    async def scene(_, http):
        async with http.get(path) as answer:
            assert answer.status == 404
            assert (await answer.json())["error"]["reason"] == "NotFound"

    served(tmp_path, scene)


def test_unknown_filter_is_refused_instead_of_listing_everything(tmp_path):
    async def scene(_, http):
        async with http.get("/artifacts?node=pod-0") as answer:
            assert (answer.status, (await answer.json())["error"]["field"]) == (400, "node")

    served(tmp_path, scene)


def test_bytes_that_vanished_are_told_before_the_head(tmp_path):
    async def scene(store, http):
        (tmp_path / "s" / store.find("art-1").key).unlink()
        async with http.get("/artifacts/art-1") as answer:
            assert answer.status == 404

    served(tmp_path, scene)


def test_damaged_artifact_is_listed_told_and_never_sent_as_if_it_were_whole(tmp_path):
    """Defect P12."""

    async def scene(store, http):
        path = tmp_path / "s" / store.find("art-1").key
        path.write_bytes(b"X" + CONTENT[1:])
        with pytest.raises(aiohttp.ClientPayloadError):
            async with http.get("/artifacts/art-1") as answer:
                await answer.read()
        async with http.get("/artifacts") as answer:
            (listed,) = (await answer.json())["artifacts"]
        assert listed["state"] == "Damaged"
        assert "its bytes are not those that were stored" in listed["message"]
        async with http.get("/artifacts/art-1") as answer:
            assert answer.status == 410
            assert (await answer.json())["error"]["reason"] == "ChecksumMismatch"
        assert path.exists()
        async with http.delete("/artifacts/art-1") as answer:
            assert answer.status == 204

    served(tmp_path, scene)


def test_manifest_that_cannot_be_read_is_listed_beside_the_others(tmp_path):
    """Defect P2."""

    async def scene(store, http):
        beside = f"{store.find('art-1').key}x.manifest.json"
        (tmp_path / "s" / beside).write_bytes(b'{"version":1')
        await store.open()
        async with http.get("/artifacts") as answer:
            told = await answer.json()
        assert [one["artifact_id"] for one in told["artifacts"]] == ["art-1"]
        assert [one["name"] for one in told["unreadable"]] == [beside]

    served(tmp_path, scene)


def test_bytes_that_end_early_end_the_connection(tmp_path):
    async def scene(store, http):
        async def short(*_):
            yield b"x" * 1000

        async def broken(*_):
            yield b"x" * 1000
            raise StorageError("the disk is gone")

        for stream in (short, broken):
            store.stream = stream
            with pytest.raises(aiohttp.ClientPayloadError):
                async with asyncio.timeout(5), http.get("/artifacts/art-1") as answer:
                    await answer.read()

    served(tmp_path, scene)


@given(
    header=st.text(max_size=20) | st.from_regex(r"bytes=\d{0,3}-\d{0,3}"), size=st.integers(0, 200)
)
def test_any_range_header_gives_bytes_that_are_there(header, size):
    request = make_mocked_request("GET", "/", headers={"Range": header})
    span = asked_span(request, size, "0" * 64)
    assert (
        span is None or span == Span(0, size, is_part=False) or 0 <= span.start < span.end <= size
    )
