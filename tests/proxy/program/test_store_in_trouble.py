# SPDX-License-Identifier: Apache-2.0
"""A store that cannot be used is a state that readiness and metrics tell, not a lie or an end."""

import asyncio
import errno
import json

import aiohttp
import pytest

from fodc_proxy.hosting import Host
from fodc_proxy.runtime import Proxy
from fodc_proxy.settings import Settings
from fodc_proxy.storage.files import RealFiles

from ..live import ANYWHERE, LinkAgent, fetch, running, until  # noqa: TID252 - one folder's tests

ASKED = {"target": {"all": True}, "captures": [{"profile": "heap"}]}


async def artifacts_check(proxy: Proxy) -> tuple[int, dict]:
    reply = await fetch(proxy, "/readyz")
    checks = {one["name"]: one for one in json.loads(reply.text)["checks"]}
    return reply.status, checks["artifacts"]


async def post(proxy: Proxy, body: dict) -> tuple[int, dict]:
    url = f"http://{proxy.http_address}/diagnostics/requests"
    async with aiohttp.ClientSession() as http, http.post(url, json=body) as answer:
        return answer.status, await answer.json()


def test_a_folder_that_cannot_be_written_is_told_and_used_as_soon_as_it_can(tmp_path):
    """Defect P24: it started, said ready and warned each second."""

    async def scene():
        (tmp_path / "data").write_text("in the way")
        async with running(tmp_path) as proxy, LinkAgent(proxy, "pod-0") as agent:
            status, check = await artifacts_check(proxy)
            assert (status, check["ok"]) == (503, False)
            assert str(tmp_path / "data") in check["message"]
            status, answer = await post(proxy, ASKED)
            assert (status, answer["error"]["reason"]) == (503, "StorageFailed")
            page = (await fetch(proxy, "/metrics")).text
            assert 'fodc_proxy_store_state{state="Failed"} 1' in page
            assert "up{" in page
            (tmp_path / "data").unlink()
            await proxy.diagnostics.open()
            assert (await artifacts_check(proxy))[0] == 200
            status, _ = await post(proxy, ASKED)
            assert status == 201
            await until(lambda: "start_capture" in agent.heard, "the agent that linked before")
            assert 'state="Ready"} 1' in (await fetch(proxy, "/metrics")).text

    asyncio.run(scene())


def test_a_store_that_comes_late_is_used_though_the_rest_was_there_before(tmp_path):
    async def scene():
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "store").write_text("in the way")
        async with running(tmp_path) as proxy:
            assert (await artifacts_check(proxy))[0] == 503
            await proxy.diagnostics.open()
            assert (await artifacts_check(proxy))[0] == 503
            (tmp_path / "data" / "store").unlink()
            await proxy.diagnostics.open()
            assert (await artifacts_check(proxy))[0] == 200
            assert (await post(proxy, ASKED))[0] == 201

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("number", "state"), [(errno.ENOSPC, "Full"), (errno.EROFS, "ReadOnly"), (errno.EIO, "Failed")]
)
def test_a_disk_that_fails_later_is_told_until_it_works(tmp_path, monkeypatch, number, state):
    """Defect P13: the check was constant."""

    async def scene():
        async with running(tmp_path) as proxy:
            assert await artifacts_check(proxy) == (
                200,
                {"name": "artifacts", "ok": True, "message": f"kept in {tmp_path}/data/store"},
            )
            write = RealFiles.write

            def failing(*_: object) -> None:
                raise OSError(number, "as told")

            monkeypatch.setattr(RealFiles, "write", failing)
            status, _ = await post(proxy, ASKED)
            assert status == 503
            status, check = await artifacts_check(proxy)
            assert (status, check["message"].split(":")[0]) == (503, state)
            assert f'store_state{{state="{state}"}} 1' in (await fetch(proxy, "/metrics")).text
            monkeypatch.setattr(RealFiles, "write", write)
            await proxy.diagnostics.objects.probe()
            assert (await artifacts_check(proxy))[0] == 200

    asyncio.run(scene())


def test_a_leader_stays_ready_and_says_that_its_store_does_not_work(tmp_path):
    """Without it nobody serves agents and people, who could not even remove artifacts."""

    async def scene():
        (tmp_path / "data").write_text("in the way")
        settings = Settings(ANYWHERE, ANYWHERE, data_dir=str(tmp_path / "data"))
        proxy = Proxy(settings, Host(elected=True))
        await proxy.start()
        try:
            status, check = await artifacts_check(proxy)
            assert (status, check["ok"]) == (200, True)
            assert check["message"].startswith("DOES NOT WORK: ")
        finally:
            await proxy.stop()

    asyncio.run(scene())


def test_what_cannot_be_read_is_told_and_hides_nothing(tmp_path):
    """Defect P2."""

    async def scene():
        async with running(tmp_path) as proxy:
            assert (await post(proxy, ASKED | {"id": "good"}))[0] == 201
        record = tmp_path / "data/store/requests/good.json"
        bad = tmp_path / "data/store/requests/bad.json"
        bad.write_bytes(record.read_bytes().replace(b'"reason":""', b'"reason":"\\ud800"'))
        async with running(tmp_path) as proxy:
            told = json.loads((await fetch(proxy, "/diagnostics/requests")).text)
            assert [one["id"] for one in told["requests"]] == ["good"]
            assert [one["name"] for one in told["unreadable"]] == ["requests/bad.json"]
            status, check = await artifacts_check(proxy)
            assert status == 200
            assert "1 cannot be read, such as requests/bad.json" in check["message"]
            assert "fodc_proxy_unreadable_records 1" in (await fetch(proxy, "/metrics")).text
        assert bad.exists()

    asyncio.run(scene())
