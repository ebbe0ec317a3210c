# SPDX-License-Identifier: Apache-2.0
"""What nodes were told, kept by content: history, changes, who differs, and what is stored."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_protocol.configuration import ConfigEntry, Source
from fodc_protocol.errors import Reason
from fodc_protocol.link import frames
from fodc_proxy.evidence.configurations.history import Change, History, Snapshot, drifting
from fodc_proxy.evidence.configurations.keeping import (
    StoredSnapshots,
    document_of,
    manifest_of,
    snapshot_of,
)
from fodc_proxy.evidence.configurations.watch import Configurations
from fodc_proxy.fleet.membership import Contract, Registration
from fodc_proxy.fleet.registry import Registry
from fodc_proxy.queries.results import Answer, Missing, RoundResult
from fodc_proxy.storage.artifacts import ArtifactStore
from fodc_proxy.storage.errors import StorageError
from fodc_proxy.storage.folder import FolderObjects
from fodc_proxy.storage.partials import Partials

HOUR_MS = 3_600_000
NOON_MS = 1_796_040_000_000


def entries(**settings: str) -> tuple[ConfigEntry, ...]:
    return tuple(
        ConfigEntry(name.replace("_", "-"), value, Source.FLAG)
        for name, value in sorted(settings.items())
    )


def snapshot(at_ms: int, node: str = "data-0", role: str = "ROLE_DATA", tier: str = "hot", **told):
    content = entries(**told)
    return Snapshot(node, role, tier, f"h{hash(content)}", at_ms, content)


def history_of(*snapshots: Snapshot) -> History:
    history = History()
    for one in snapshots:
        history.note(one)
    return history


# ---- history ----------------------------------------------------------------------------------


def test_a_snapshot_is_kept_when_its_content_differs_and_not_otherwise():
    history = History()
    first = snapshot(NOON_MS, level="info")

    assert history.note(first) == (first, ())
    assert history.note(snapshot(NOON_MS + 1000, level="info")) == (None, ())
    changed = snapshot(NOON_MS + 2000, level="debug")
    assert history.note(changed) == (changed, ())
    back = snapshot(NOON_MS + 3000, level="info")
    assert history.note(back) == (back, ())


def test_what_a_node_was_told_at_a_time_is_the_last_snapshot_before_it():
    first, second = snapshot(NOON_MS, level="info"), snapshot(NOON_MS + 5000, level="debug")
    history = history_of(first, second)

    assert history.at("data-0", NOON_MS - 1) is None
    assert history.at("data-0", NOON_MS) == first
    assert history.at("data-0", NOON_MS + 4999) == first
    assert history.at("data-0", NOON_MS + 5000) == second
    assert history.at("data-1", NOON_MS) is None


def test_changes_before_an_instant_name_each_setting_with_both_values():
    history = history_of(
        snapshot(NOON_MS - 2 * HOUR_MS, level="info"),
        snapshot(NOON_MS - HOUR_MS - 1, level="warn"),
        snapshot(NOON_MS - HOUR_MS, level="debug", quota="5"),
        snapshot(NOON_MS, quota="7"),
        snapshot(NOON_MS + 1, quota="8"),
    )

    assert history.changes_before("data-0", NOON_MS, HOUR_MS) == (
        Change("data-0", NOON_MS - HOUR_MS, "level", "warn", "debug"),
        Change("data-0", NOON_MS - HOUR_MS, "quota", None, "5"),
        Change("data-0", NOON_MS, "level", "debug", None),
        Change("data-0", NOON_MS, "quota", "5", "7"),
    )


def test_the_first_that_is_known_of_a_node_is_no_change():
    history = history_of(snapshot(NOON_MS, level="info"))

    assert history.changes_before("data-0", NOON_MS + 1, HOUR_MS) == ()


def test_a_clock_that_was_set_back_hides_no_change():
    history = history_of(snapshot(NOON_MS, level="info"), snapshot(NOON_MS - 5000, level="debug"))

    assert history.latest("data-0").values == {"level": "debug"}
    assert history.at("data-0", NOON_MS).values == {"level": "info"}


def test_snapshots_of_a_node_are_bounded_and_the_oldest_is_handed_out():
    history = History(max_snapshots=2)
    first = snapshot(1, level="1")
    history.note(first)
    history.note(snapshot(2, level="2"))

    assert history.note(snapshot(3, level="3"))[1] == (first,)
    assert history.at("data-0", 1) is None


def test_nodes_are_bounded_and_the_longest_unheard_goes():
    history = History(max_nodes=2)
    for node in ("a", "b", "a", "c"):
        history.note(snapshot(1, node=node))

    assert history.nodes() == ("a", "c")


CONTENTS = st.lists(st.sampled_from(["info", "debug", "warn"]), max_size=20)


@given(CONTENTS, st.randoms())
def test_what_was_kept_is_the_same_history_when_it_is_read_back_in_any_order(levels, random):
    history = History()
    kept = []
    for at_ms, level in enumerate(levels, start=1):
        fresh, _ = history.note(snapshot(at_ms, level=level))
        kept += [fresh] if fresh else []
    random.shuffle(kept)
    again = History()
    again.restore(kept)

    for at_ms in range(len(levels) + 2):
        assert again.at("data-0", at_ms) == history.at("data-0", at_ms)


@given(CONTENTS)
def test_changes_of_all_time_lead_from_the_first_snapshot_to_the_last(levels):
    history = History()
    for at_ms, level in enumerate(levels, start=1):
        history.note(snapshot(at_ms, level=level))
    value = levels[0] if levels else None
    for change in history.changes_before("data-0", 1000, 1000):
        assert change.before == value
        value = change.after

    assert value == (levels[-1] if levels else None)


# ---- in sync ------------------------------------------------------------------------------------


def test_a_node_that_differs_from_most_of_its_role_and_tier_is_named_with_the_settings():
    told = [
        snapshot(1, node="a", level="info", addr=":1"),
        snapshot(1, node="b", level="info", addr=":2"),
        snapshot(1, node="c", level="debug", addr=":3", extra="1"),
        snapshot(1, node="w", tier="warm", level="warn"),
        snapshot(1, node="l", role="ROLE_LIAISON", level="error"),
    ]

    assert drifting(told) == {"a": (), "b": (), "c": ("extra", "level"), "w": (), "l": ()}


def test_without_a_majority_each_node_differs():
    told = [snapshot(1, node="a", level="info"), snapshot(1, node="b", level="debug")]

    assert drifting(told) == {"a": ("level",), "b": ("level",)}


# ---- stored -------------------------------------------------------------------------------------


def test_a_snapshot_read_back_from_its_artifact_is_the_same():
    told = Snapshot(
        "banyandb/data-0",
        "ROLE_DATA",
        "hot",
        "abc",
        NOON_MS + 7,
        (ConfigEntry("password", "***", Source.ENVIRONMENT, redacted=True),),
        ("no access",),
    )
    content = document_of(told)
    manifest = manifest_of(told, content)

    assert snapshot_of(manifest, content) == told
    assert (manifest.profile, manifest.format, manifest.pod) == (
        "config",
        "configuration",
        "data-0",
    )


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b'{"hash": "h", "collected_at": "noon", "entries": []}',
        b'{"hash": "h", "collected_at": "2026-11-29T00:00:00Z", "entries": [{"name": "a"}]}',
    ],
)
def test_a_damaged_snapshot_hides_no_other(tmp_path, content):
    async def scene():
        objects = FolderObjects(tmp_path / "store")
        await objects.open()
        store = ArtifactStore(objects, clock_ms=lambda: NOON_MS)
        partials = Partials(tmp_path / "partial")
        await partials.open()
        kept = StoredSnapshots(store, partials)
        good = snapshot(NOON_MS, level="info")
        await kept.keep(good)
        bad = snapshot(NOON_MS, node="data-1")
        manifest = manifest_of(bad, content)
        path = tmp_path / "bad"
        path.write_bytes(content)
        await store.commit(manifest, path)
        assert await kept.load() == [good]
        await kept.drop(good)
        assert await kept.load() == []

    asyncio.run(scene())


# ---- asked and watched ------------------------------------------


class Fleet:
    """Agents that tell a hash with their state and entries when they are asked."""

    def __init__(self) -> None:
        self.now_ms = NOON_MS
        self.registry = Registry(clock_ms=lambda: self.now_ms)
        self.told: dict[str, tuple[ConfigEntry, ...]] = {}
        self.silent: set[str] = set()
        self.asked: list[str] = []

    def tell(self, pod: str, **settings: str) -> None:
        self.told[pod] = entries(**settings)
        state = frames.NodeState("ROLE_DATA", configuration_hash=f"h{hash(self.told[pod])}")
        self.registry.register(
            Registration(frames.Identity(pod, namespace="db"), state, Contract.LINK)
        )

    async def configuration(self, selection):
        self.asked.append(selection.pod_name)
        wanted = [one for one in self.registry.members() if selection.covers(one)]
        return RoundResult(
            tuple(Answer(m, self._of(m)) for m in wanted if m.pod_name not in self.silent),
            tuple(
                Missing(m, Reason.NODE_UNREACHABLE, "away")
                for m in wanted
                if m.pod_name in self.silent
            ),
        )

    def _of(self, member):
        told = self.told[member.pod_name]
        digest = member.state.configuration_hash
        return frames.Configuration(1, 1, digest, self.now_ms, told)


class Memory:
    """A store that may be full."""

    def __init__(self) -> None:
        self.kept: list[Snapshot] = []
        self.is_full = False

    async def keep(self, one: Snapshot) -> None:
        if self.is_full:
            raise StorageError("no space left")
        self.kept.append(one)

    async def drop(self, one: Snapshot) -> None:
        self.kept.remove(one)

    async def load(self) -> list[Snapshot]:
        return list(self.kept)


def watched(fleet: Fleet, store: Memory, *, is_open=lambda: True) -> Configurations:
    return Configurations(
        fleet.registry, fleet, store, is_open=is_open, clock_ms=lambda: fleet.now_ms
    )


def test_a_node_is_asked_when_its_hash_is_not_the_known_one_and_only_then():
    async def scene():
        fleet, store = Fleet(), Memory()
        told = watched(fleet, store)
        fleet.tell("data-0", level="info")
        fleet.tell("data-1", level="info")
        await told.turn()
        await told.turn()
        fleet.now_ms += 60_000
        fleet.tell("data-1", level="debug")
        await told.turn()

        assert fleet.asked == ["", "db/data-1"]
        assert [(one.address, one.since_ms) for one in store.kept] == [
            ("db/data-0", NOON_MS),
            ("db/data-1", NOON_MS),
            ("db/data-1", NOON_MS + 60_000),
        ]
        assert told.changes_before("db/data-1", fleet.now_ms, HOUR_MS) == (
            Change("db/data-1", NOON_MS + 60_000, "level", "info", "debug"),
        )
        assert told.changed == 1
        assert told.in_sync("db/data-0") == ("level",)
        assert told.in_sync("db/data-9") is None

    asyncio.run(scene())


def test_a_full_store_keeps_snapshots_waiting_until_it_takes_them():
    async def scene():
        fleet, store = Fleet(), Memory()
        told = watched(fleet, store)
        store.is_full = True
        fleet.tell("data-0", level="info")
        await told.turn()
        assert (told.unkept, store.kept) == (1, [])
        store.is_full = False
        await told.turn()
        assert (told.unkept, len(store.kept)) == (0, 1)

    asyncio.run(scene())


def test_the_next_proxy_knows_what_the_last_one_kept():
    async def scene():
        fleet, store = Fleet(), Memory()
        fleet.tell("data-0", level="info")
        await watched(fleet, store).turn()
        fleet.now_ms += 60_000
        again = watched(fleet, store)
        await again.open()
        fleet.tell("data-0", level="debug")
        await again.turn()

        assert [one.name for one in again.changes_before("db/data-0", fleet.now_ms, HOUR_MS)] == [
            "level"
        ]
        assert again.history.at("db/data-0", NOON_MS).values == {"level": "info"}

    asyncio.run(scene())


def test_a_node_that_does_not_answer_is_asked_again():
    async def scene():
        fleet, store = Fleet(), Memory()
        told = watched(fleet, store)
        fleet.tell("data-0", level="info")
        fleet.silent.add("data-0")
        await told.turn()
        fleet.silent.clear()
        await told.turn()

        assert len(fleet.asked) == 2
        assert len(store.kept) == 1

    asyncio.run(scene())


def test_a_change_of_an_agents_hash_wakes_the_watch():
    async def scene():
        fleet, store = Fleet(), Memory()
        told = watched(fleet, store)
        told.start()
        await asyncio.sleep(0)
        fleet.tell("data-0", level="info")
        assert told._woken.is_set()
        await told.stop()

    asyncio.run(scene())
