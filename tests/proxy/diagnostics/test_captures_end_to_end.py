# SPDX-License-Identifier: Apache-2.0
"""From a request to stored artifacts, against agents over frames."""

import hashlib
import json

from fodc_proxy.diagnostics.model import Phase, RequestPhase


async def stored_bytes(world, artifact_id: str) -> bytes:
    stored = world.store.find(artifact_id)
    blocks = [b async for b in world.store.stream(stored, 0, stored.manifest.size_bytes)]
    return b"".join(blocks)


def test_request_succeeds_when_every_agent_captures(play, bytes_of):
    async def scene(world):
        world.agent("pod-0")
        world.agent("pod-1")
        request = await world.ask(captures=[{"profile": "heap"}, {"profile": "goroutine"}])
        assert request.phase is RequestPhase.RUNNING
        await world.settle()
        request = world.get()
        assert (request.phase, request.reason) == (RequestPhase.SUCCEEDED, "")
        assert request.message == "all 4 captures succeeded"
        for target in request.targets:
            assert (target.phase, target.attempts) == (Phase.SUCCEEDED, 2)
            for result in target.results:
                manifest = world.store.find(result.artifact_id).manifest
                content = bytes_of(manifest.command_id)
                assert await stored_bytes(world, result.artifact_id) == content
                assert result.sha256 == hashlib.sha256(content).hexdigest()
                assert result.received_bytes == result.size_bytes == len(content)
        assert all(agent.spool == {} for agent in world.agents.values())
        assert list((world.folder / "partial").iterdir()) == []
        record = json.loads((world.folder / "store/requests/r1.json").read_bytes())
        assert record["request"]["phase"] == "Succeeded"

    play(scene)
