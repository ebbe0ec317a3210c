# SPDX-License-Identifier: Apache-2.0
"""What happens to the agents of targets when the file changes or one of them breaks."""

import asyncio
import json

import pytest

from fodc_agent.budget import window_budget_bytes
from fodc_agent.recorder.recorder import Recorder
from fodc_agent.remote.fleet import RemoteNodes
from fodc_agent.remote.leftovers import PATIENCE_S, Leftovers
from fodc_agent.remote.shares import Share
from fodc_agent.settings import load
from fodc_agent.web.routes import Check
from fodc_protocol.metrics.families import FamilyBlock
from fodc_protocol.metrics.samples import MetricType


class FakeAgent:
    """An agent that notes what is done to it."""

    def __init__(self, settings, notes) -> None:
        self.name, self.settings, self.notes = settings.pod_name, settings, notes
        self.has_failed = False
        self.share = None

    async def start(self):
        self.notes.append(("start", self.name))
        if self.settings.node_host == "unstartable":
            raise OSError("no room")

    async def close(self):
        self.notes.append(("close", self.name))
        if self.settings.node_host == "unstoppable":
            raise RuntimeError("stuck")

    def resize(self, share):
        self.share = share

    def blocks(self):
        line = f'up{{pod_name="{self.name}"}} 1\n'.encode()
        return [FamilyBlock("up", MetricType.GAUGE, "", line, 1)]

    def checks(self):
        return [
            Check("node-scraped", ok=self.name != "down", message="refused" * (self.name == "down"))
        ]


class Scene:
    """Nodes of a file in a folder, on a clock that only the test turns."""

    def __init__(self, folder, budget="8MiB") -> None:
        self.folder, self.file = folder, folder / "targets.json"
        self.notes, self.agents, self.now_s = [], {}, 0.0
        self.settings = load(
            [
                "--attachment=remote",
                f"--targets-file={self.file}",
                f"--capture-dir={folder / 'captures'}",
                f"--window-budget={budget}",
            ],
            {},
        )

    def make(self, settings):
        if settings.node_host == "unmakeable":
            raise ValueError("never")
        agent = self.agents[settings.pod_name] = FakeAgent(settings, self.notes)
        return agent

    def write(self, *names, **hosts):
        targets = [{"pod_name": name, "host": "h"} for name in names]
        targets += [{"pod_name": name, "host": host} for name, host in hosts.items()]
        fresh = self.folder / "fresh"
        fresh.write_text(json.dumps({"targets": targets}))
        fresh.replace(self.file)

    def check(self, name):
        return next((one for one in self.nodes.checks() if one.name == name), None)

    async def until(self, condition):
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.005)

    def run(self, scenario):
        async def whole():
            self.nodes = RemoteNodes(
                self.settings, self.file, self.make, clock=lambda: self.now_s, poll_s=0.01
            )
            await self.nodes.start()
            try:
                await scenario()
            finally:
                await self.nodes.close()

        asyncio.run(whole())


def test_targets_come_and_go_and_the_others_stay(tmp_path):
    scene = Scene(tmp_path)
    scene.write("a", "b")

    async def scenario():
        await scene.until(lambda: scene.check("target b") and scene.check("target b").ok)
        scene.write("b", "c")
        await scene.until(lambda: scene.check("target c") and scene.check("target c").ok)
        assert scene.notes == [("start", "a"), ("start", "b"), ("close", "a"), ("start", "c")]
        assert scene.check("target a") is None

    scene.run(scenario)
    assert sorted(scene.notes[4:]) == [("close", "b"), ("close", "c")]


def test_a_targets_file_with_a_byte_order_mark_is_read(tmp_path):
    """A23: a JSON file that an editor of Windows wrote was refused."""
    scene = Scene(tmp_path)
    scene.write("a")
    scene.file.write_bytes(b"\xef\xbb\xbf" + scene.file.read_bytes())

    async def scenario():
        await scene.until(lambda: scene.check("target a") and scene.check("target a").ok)

    scene.run(scenario)


def test_a_target_at_another_address_is_attached_to_anew(tmp_path):
    scene = Scene(tmp_path)
    scene.write("b", a="h1")

    async def scenario():
        await scene.until(lambda: len(scene.notes) == 2)
        scene.write("b", a="h2")
        await scene.until(lambda: len(scene.notes) == 4)
        assert scene.notes[2:] == [("close", "a"), ("start", "a")]
        assert scene.agents["a"].settings.node_host == "h2"

    scene.run(scenario)


def test_a_broken_file_or_none_keeps_the_last_good_one_and_says_so(tmp_path):
    scene = Scene(tmp_path)

    async def scenario():
        await scene.until(lambda: "No such file" in scene.check("targets-file").message)
        assert "there is no good one yet" in scene.check("targets-file").message
        scene.write("a")
        await scene.until(lambda: scene.check("targets-file").ok)
        scene.file.write_text("{")
        await scene.until(lambda: not scene.check("targets-file").ok)
        assert "the last good one counts" in scene.check("targets-file").message
        scene.file.unlink()
        await scene.until(lambda: "No such file" in scene.check("targets-file").message)
        assert scene.notes == [("start", "a")]
        scene.write("a")
        await scene.until(lambda: scene.check("targets-file").ok)
        assert scene.notes == [("start", "a")]

    scene.run(scenario)


def test_one_bad_target_never_stops_others_and_is_tried_again(tmp_path):
    scene = Scene(tmp_path)
    scene.write("good", bad="unstartable", worse="unmakeable", worst="unstoppable")

    async def scenario():
        await scene.until(lambda: ("close", "bad") in scene.notes)
        assert scene.check("target good").ok
        assert scene.check("target bad").message == "cannot be attached to: OSError: no room"
        assert scene.check("target worse").message == "cannot be attached to: ValueError: never"
        assert scene.notes.count(("start", "bad")) == 1
        scene.now_s = 31
        await scene.until(lambda: scene.notes.count(("start", "bad")) == 2)
        scene.write("good")
        await scene.until(lambda: scene.check("target worst") is None)
        assert scene.notes.count(("start", "good")) == 1

    scene.run(scenario)


def test_an_agent_that_gave_up_is_made_anew_after_a_pause(tmp_path):
    scene = Scene(tmp_path)
    scene.write("a", "b")

    async def scenario():
        await scene.until(lambda: len(scene.notes) == 2)
        scene.agents["a"].has_failed = True
        await scene.until(lambda: ("close", "a") in scene.notes)
        assert not scene.check("target a").ok
        scene.now_s = 31
        await scene.until(lambda: scene.check("target a").ok)
        assert scene.notes == [("start", "a"), ("start", "b"), ("close", "a"), ("start", "a")]

    scene.run(scenario)


def test_memory_and_disk_are_divided_and_divided_anew(tmp_path):
    scene = Scene(tmp_path)
    scene.write("a", "b")

    async def scenario():
        await scene.until(lambda: len(scene.agents) == 2)
        assert scene.agents["a"].settings.window_budget_bytes == 4 << 20
        scene.write("a", "b", "c")
        await scene.until(lambda: len(scene.agents) == 3)
        assert scene.agents["a"].share.window_bytes == 2 << 20
        assert scene.agents["c"].settings.window_budget_bytes == 2 << 20
        assert scene.agents["c"].settings.capture_quota_bytes == 64 << 20

    scene.run(scenario)


def test_the_page_has_every_target_and_a_line_says_what_one_lacks(tmp_path):
    scene = Scene(tmp_path)
    scene.write("a", "down")

    async def scenario():
        await scene.until(lambda: len(scene.notes) == 2)
        lines = b"".join(block.text for block in scene.nodes.blocks())
        assert lines == b'up{pod_name="a"} 1\nup{pod_name="down"} 1\n'
        assert scene.check("target down") == Check(
            "target down", ok=False, message="node-scraped: refused"
        )

    scene.run(scenario)


def test_leftovers_of_a_target_are_removed_after_ten_minutes_and_not_before(tmp_path):
    gone, kept = tmp_path / "targets" / "gone", tmp_path / "targets" / "kept"
    for folder in (gone, kept):
        folder.mkdir(parents=True)
        (folder / "x").write_text("")
    leftovers = Leftovers([tmp_path / "targets", tmp_path / "missing"])

    assert leftovers.sweep({"kept"}, 0) == []
    assert leftovers.sweep({"kept", "gone"}, 300) == []
    assert leftovers.sweep({"kept"}, 400) == []
    assert leftovers.sweep({"kept"}, 400 + PATIENCE_S - 1) == []
    assert leftovers.sweep({"kept"}, 400 + PATIENCE_S) == [gone]
    assert kept.exists()
    assert not gone.exists()


def test_a2_targets_without_room_for_a_window_are_refused_by_name(tmp_path):
    scene = Scene(tmp_path, budget="1MiB")
    names = [f"n{number}" for number in range(6)]
    scene.write(*names)

    async def scenario():
        await scene.until(lambda: len(scene.agents) == 4 and scene.check("target n5"))
        assert scene.check("target n3").ok
        refused = scene.check("target n5")
        assert (refused.ok, refused.message) == (
            False,
            (
                "refused: a window needs 256 KiB and the memory for windows is 1024 KiB, which is "
                "enough for 4 targets: raise --window-budget"
            ),
        )

    scene.run(scenario)
    assert sorted(scene.agents) == names[:4]
    windows = [agent.settings.window_budget_bytes for agent in scene.agents.values()]
    assert min(windows) >= 256 * 1024


@pytest.mark.parametrize("targets", [1, 5, 16, 32])
def test_a2_every_target_that_is_attached_keeps_rows_within_its_share(targets):
    share = Share(8 << 20, 1 << 30, 1 << 30)
    assert targets <= share.places
    one = Recorder(budget_bytes=share.among(targets).window_bytes, interval_s=10, least_series=128)
    for at in range(20):
        lines = (b'm{shard="%d",method="write"} %d\n' % (place, at) for place in range(3_000))
        one.record_page("metrics:2121", b"".join(lines), at * 10_000)
        extent = one.extent()
        assert extent.bytes <= extent.budget_bytes
    assert extent.rows > 0
    assert extent.series > 100
    assert extent.series + extent.refused == 3_000
    assert extent.reachable_s is not None


def test_a2_many_nodes_are_not_capped_at_what_one_may_have():
    half = {"percent": 10, "limit_bytes": 1 << 30}
    assert window_budget_bytes(**half, is_capped=True) == 8 << 20
    assert window_budget_bytes(**half, is_capped=False) == (1 << 30) // 10
