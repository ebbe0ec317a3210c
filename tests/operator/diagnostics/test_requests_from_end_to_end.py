# SPDX-License-Identifier: Apache-2.0
"""A DiagnosticRequest from its creation to its end, kopf and the proxy's engine included."""

from tests.operator.diagnostics.scene import Play, Scene


def test_a_request_is_carried_out_and_its_status_tells_of_it(play: Play):
    async def scene(s: Scene, url: str):
        s.agent("pod-0")
        s.apply(purpose="INC-1")
        await s.until_phase("Running")
        await s.finish("pod-0")
        await s.until_phase("Succeeded")
        status = s.status()
        (target,) = status["targets"]
        (result,) = target["results"]
        assert s.conditions() == {
            "Accepted": ("True", "Valid"),
            "TargetsResolved": ("True", "Resolved"),
            "Started": ("True", "Captures"),
            "Finished": ("True", "Succeeded"),
            "Succeeded": ("True", "Succeeded"),
        }
        assert status["progress"] == "1/1"
        assert (target["nodeName"], target["role"]) == ("pod-0", "Data")
        assert result["downloadPath"] == f"/artifacts/{result['artifactID']}"
        assert (result["type"], result["samples"], result["sizeBytes"]) == ("HeapSnapshot", 7, 352)
        await s.until("its events", lambda: len(s.events()) == 3)
        told = ["Accepted", "Started", "Succeeded"]
        assert s.events() == [("Normal", reason) for reason in told]

    play(scene)


def test_nothing_of_kopf_is_left_on_an_object(play: Play):
    async def scene(s: Scene, url: str):
        s.agent("pod-0")
        s.apply()
        await s.finish("pod-0")
        await s.until_phase("Succeeded")
        assert s.body()["metadata"].keys() == {
            "name",
            "namespace",
            "uid",
            "creationTimestamp",
            "generation",
            "resourceVersion",
        }

    play(scene)
