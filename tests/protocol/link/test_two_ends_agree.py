# SPDX-License-Identifier: Apache-2.0
"""Both ends of the link on a virtual network: whatever is cut or damaged, they agree in the end.

The world below is the shell of both programs reduced to lists: a wire that loses what is on it
when it is cut, a spool and a partial file that survive restarts, and no clock but a number.
"""

import hashlib
import zlib
from collections import deque
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fodc_protocol.link import effects, frames
from fodc_protocol.link.agent_side import AgentSession, Phase
from fodc_protocol.link.frames import CommandState, CommandUpdate
from fodc_protocol.link.proxy_side import Command, answer_to_unknown, released

CHUNK_BYTES = 7
CREDIT_BYTES = 16
TIMEOUT_MS = 10_000_000


def artifact_bytes(command_id: str) -> bytes:
    return (command_id.encode() * 40)[: 13 + 11 * len(command_id)]


class World:
    """Two shells without I/O."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.to_proxy: deque[frames.AgentFrame] = deque()
        self.to_agent: deque[frames.ProxyFrame] = deque()
        self.spool: dict[str, CommandUpdate] = {}
        self.incarnations = 0
        self.open: dict[str, frames.StartCapture] = {}
        self.partial: dict[str, bytes] = {}
        self.stored: dict[str, bytes] = {}
        self.ended: dict[str, effects.Ended] = {}
        self.captures_begun: list[str] = []
        # How many of the next chunks the wire garbles.
        self.garble = 0
        self.agent = self._new_agent()
        self.commands: dict[str, Command] = {}
        self.linked = ""

    def _new_agent(self) -> AgentSession:
        self.incarnations += 1
        return AgentSession(
            identity=frames.Identity("pod-0"),
            state=frames.NodeState("ROLE_DATA"),
            agent_version="1",
            incarnation=f"life-{self.incarnations}",
            heartbeat_interval_ms=1000,
            held=self.spool.values(),
        )

    # ---- the agent's shell

    def act_as_agent(self, asked: list[effects.AgentEffect]) -> None:
        for effect in asked:
            match effect:
                case effects.SendAgentFrame(frame):
                    self.to_proxy.append(frame)
                case effects.BeginCapture(command):
                    self.captures_begun.append(command.command_id)
                    self.spool[command.command_id] = CommandUpdate(
                        command.command_id, CommandState.RUNNING
                    )
                case effects.EndCapture(command_id, _):
                    self.spool[command_id] = CommandUpdate(
                        command_id, CommandState.CANCELLED, "Cancelled"
                    )
                    self.act_as_agent(self.agent.noted(self.spool[command_id]))
                case effects.SendChunk(command_id, offset, length):
                    data = artifact_bytes(command_id)[offset : offset + length]
                    chunk = frames.ArtifactChunk(command_id, offset, data, zlib.crc32(data))
                    self.to_proxy.append(chunk)
                case effects.Forget(command_id):
                    del self.spool[command_id]
                case effects.Hangup():
                    self.cut()
                case effects.Answer():
                    raise AssertionError("nobody asked a query")

    def finish(self, command_id: str, *, well: bool) -> None:
        if well:
            data = artifact_bytes(command_id)
            digest = hashlib.sha256(data).hexdigest()
            artifact = frames.Artifact("cpu", "pprof", len(data), digest, 1, 0, 1)
            self.spool[command_id] = CommandUpdate(
                command_id, CommandState.CAPTURED, artifact=artifact
            )
            self.act_as_agent(self.agent.noted(self.spool[command_id]))
        else:
            self.spool[command_id] = CommandUpdate(
                command_id, CommandState.FAILED, "EmptyProfile", "no samples"
            )
            self.act_as_agent(self.agent.noted(self.spool[command_id]))

    def restart_agent(self) -> None:
        self.cut()
        for command_id, capture in self.spool.items():
            if capture.state <= CommandState.RUNNING:
                self.spool[command_id] = CommandUpdate(
                    command_id, CommandState.FAILED, "AgentRestarted", "killed"
                )
        self.agent = self._new_agent()

    # ---- the proxy's shell

    def act_as_proxy(self, asked: list[effects.ProxyEffect]) -> None:
        for effect in asked:
            match effect:
                case effects.SendProxyFrame(frame):
                    if self.agent.phase is not Phase.CUT:
                        self.to_agent.append(frame)
                case effects.Append(command_id, offset, data):
                    have = self.partial.get(command_id, b"")
                    assert offset == len(have)
                    self.partial[command_id] = have + data
                case effects.Discard(command_id):
                    self.partial.pop(command_id, None)
                case effects.Commit(command_id, artifact):
                    self._commit(command_id, artifact)
                case effects.Ended():
                    assert effect.command_id not in self.ended, "a command ended twice"
                    self.ended[effect.command_id] = effect
                    del self.open[effect.command_id]
                    del self.commands[effect.command_id]
                case effects.Progressed():
                    pass

    def _commit(self, command_id: str, artifact: frames.Artifact) -> None:
        data = self.partial.pop(command_id)
        assert hashlib.sha256(data).hexdigest() == artifact.sha256
        self.stored[command_id] = data
        self.act_as_proxy(self.commands[command_id].stored())

    def restart_proxy(self, *, keeps_partial: bool) -> None:
        self.cut()
        if not keeps_partial:
            self.partial.clear()
        for order in self.open.values():
            self._open(order)

    def start(self, command_id: str) -> None:
        self.open[command_id] = frames.StartCapture(command_id, "cpu", 1000, TIMEOUT_MS)
        self._open(self.open[command_id])
        if self.linked:
            self.act_as_proxy(self.commands[command_id].linked(self.linked, self.now_ms))

    def _open(self, order: frames.StartCapture) -> None:
        have = len(self.partial.get(order.command_id, b""))
        self.commands[order.command_id] = Command(
            order, self.now_ms, received_bytes=have, credit_bytes=CREDIT_BYTES
        )

    def _let_in(self, hello: frames.Hello) -> None:
        self.linked = hello.incarnation
        held = hello.held_command_ids
        for command_id in held:
            if command_id not in self.commands:
                self.to_agent.append(released(command_id))
        for command in tuple(self.commands.values()):
            is_held = command.id in held
            self.act_as_proxy(command.linked(self.linked, self.now_ms, is_held=is_held))

    def _hear(self, frame: frames.CommandUpdate | frames.ArtifactChunk) -> None:
        command = self.commands.get(frame.command_id)
        if command is None:
            self.to_agent.append(answer_to_unknown(frame))
        else:
            self.act_as_proxy(command.received(frame))

    def cancel(self, command_id: str, mode: frames.CancelMode) -> None:
        if command_id in self.commands:
            self.act_as_proxy(self.commands[command_id].cancel(mode))

    # ---- the wire

    def connect(self) -> None:
        self.act_as_agent(self.agent.opened(self.now_ms))

    def cut(self) -> None:
        self.to_proxy.clear()
        self.to_agent.clear()
        self.agent.cut()
        self.linked = ""
        for command in self.commands.values():
            command.unlinked()

    def deliver_to_proxy(self) -> None:
        frame = self.to_proxy.popleft()
        match frame:
            case frames.Hello():
                welcome = frames.Welcome(1, "id", 1000, "1", "p", CHUNK_BYTES)
                self.to_agent.append(welcome)
                self._let_in(frame)
            case frames.ArtifactChunk():
                if self.garble:
                    self.garble -= 1
                    frame = replace(frame, data=b"?" * len(frame.data))
                self._hear(frame)
            case frames.CommandUpdate():
                self._hear(frame)
            case _:
                pass

    def deliver_to_agent(self) -> None:
        self.act_as_agent(self.agent.received(self.to_agent.popleft(), self.now_ms))

    def settle(self) -> None:
        """Finish what runs and deliver everything until both ends are quiet."""
        if self.agent.phase is Phase.CUT:
            self.connect()
        for _ in range(10_000):
            if self.to_proxy:
                self.deliver_to_proxy()
            elif self.to_agent:
                self.deliver_to_agent()
            else:
                running = [c for c, h in self.spool.items() if h.state <= CommandState.RUNNING]
                if not running:
                    return
                self.finish(running[0], well=True)
        raise AssertionError("the two ends never came to rest")


COMMANDS = ("a", "bb", "cccc")


class TwoEnds(RuleBasedStateMachine):
    """Any order of cuts, restarts, damage, cancels and progress."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.started: set[str] = set()
        self.damage_left = 2

    @rule(command_id=st.sampled_from(COMMANDS))
    def start(self, command_id: str) -> None:
        if command_id not in self.started:
            self.started.add(command_id)
            self.world.start(command_id)

    @precondition(lambda self: self.world.agent.phase is Phase.CUT)
    @rule()
    def connect(self) -> None:
        self.world.connect()

    @rule()
    def cut(self) -> None:
        self.world.cut()

    @precondition(lambda self: self.world.to_proxy)
    @rule(steps=st.integers(1, 4))
    def deliver_to_proxy(self, steps: int) -> None:
        for _ in range(min(steps, len(self.world.to_proxy))):
            self.world.deliver_to_proxy()

    @precondition(lambda self: self.damage_left)
    @rule()
    def garble_a_chunk(self) -> None:
        self.damage_left -= 1
        self.world.garble += 1

    @precondition(lambda self: self.world.to_agent)
    @rule(steps=st.integers(1, 4))
    def deliver_to_agent(self, steps: int) -> None:
        for _ in range(min(steps, len(self.world.to_agent))):
            self.world.deliver_to_agent()

    @rule(well=st.booleans())
    def finish_one(self, well: bool) -> None:
        running = [c for c, h in self.world.spool.items() if h.state <= CommandState.RUNNING]
        if running:
            self.world.finish(running[0], well=well)

    @rule()
    def restart_agent(self) -> None:
        self.world.restart_agent()

    @rule(keeps_partial=st.booleans())
    def restart_proxy(self, keeps_partial: bool) -> None:
        self.world.restart_proxy(keeps_partial=keeps_partial)

    @rule(command_id=st.sampled_from(COMMANDS), mode=st.sampled_from(frames.CancelMode))
    def cancel(self, command_id: str, mode: frames.CancelMode) -> None:
        self.world.cancel(command_id, mode)

    @invariant()
    def what_is_stored_is_whole(self) -> None:
        for command_id, data in self.world.stored.items():
            assert data == artifact_bytes(command_id)

    @invariant()
    def no_capture_begins_twice(self) -> None:
        assert len(set(self.world.captures_begun)) == len(self.world.captures_begun)

    def teardown(self) -> None:
        self.world.settle()
        assert set(self.world.ended) == self.started
        for command_id, ended in self.world.ended.items():
            assert (ended.state is CommandState.CAPTURED) == (command_id in self.world.stored)
            assert ended.artifact is not None or ended.reason
        assert self.world.spool == {}
        assert self.world.agent.held_command_ids() == ()
        assert self.world.partial == {}
        assert self.world.commands == {}


TwoEnds.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
TestTwoEnds = TwoEnds.TestCase
