# SPDX-License-Identifier: Apache-2.0
"""kill -9 of agent and proxy between what happens and its incident: told once, and kept.

The rules with every point between are in tests/interop/test_any_course_of_occurrences.py; here are
real processes, disks and sockets at some of the points.
"""

import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from e2e import programs
from e2e.test_incidents import Site, until

PATIENCE_S = 25.0
PAGE_BYTES = 8192


class Mortal(Site):
    """A site whose agent and proxy die and come back where they were."""

    def kill_agent(self) -> None:
        """End the agent as a crash would."""
        self.agent.kill()

    def kill_proxy(self) -> None:
        """End the proxy as a crash would."""
        self.proxy.kill()

    def return_agent(self) -> None:
        """Start an agent in its place."""
        self.agent = self.start_agent()

    def return_proxy(self) -> None:
        """Start a proxy where it was, on its disk."""
        flags = (
            f"--grpc-listen-addr={self.proxy.grpc}",
            f"--http-listen-addr={self.proxy.http.removeprefix('http://')}",
        )
        started = programs.start_proxy(self.folder, *flags, name="proxy-again")
        self.proxy = self.stack.enter_context(programs.running(started))

    def is_journaled(self) -> bool:
        """Whether a page of the node is on the disk: names of its series alone are more."""
        files = (self.folder / "data-0" / "window").rglob("*")
        return sum(one.stat().st_size for one in files if one.is_file()) > PAGE_BYTES

    def is_noted(self) -> bool:
        """Whether the agent has written down that the node is gone."""
        return "node-gone" in str(self.notes().get("waiting"))

    def the_incident(self) -> Any:
        """The only incident, as soon as it is there."""
        (found,) = until("one", lambda: self.get("/incidents")["incidents"], PATIENCE_S)
        return found


def agent_as_the_node_dies(site: Mortal) -> None:
    site.node.kill()
    site.kill_agent()
    site.return_agent()


def agent_when_it_has_noted(site: Mortal) -> None:
    """The proxy stands still, so nobody has acknowledged anything."""
    site.proxy.process.send_signal(signal.SIGSTOP)
    try:
        site.node.kill()
        until("noted", site.is_noted)
        site.kill_agent()
    finally:
        site.proxy.process.send_signal(signal.SIGCONT)
    site.return_agent()


def proxy_before_it_happens(site: Mortal) -> None:
    site.kill_proxy()
    site.node.kill()
    until("noted", site.is_noted)
    site.return_proxy()


def both_when_it_is_noted(site: Mortal) -> None:
    site.kill_proxy()
    site.node.kill()
    until("noted", site.is_noted)
    site.kill_agent()
    site.return_proxy()
    site.return_agent()


def proxy_as_the_node_dies(site: Mortal) -> None:
    site.node.kill()
    site.kill_proxy()
    site.return_proxy()


def both_as_the_node_dies(site: Mortal) -> None:
    site.node.kill()
    site.kill_agent()
    site.kill_proxy()
    site.return_agent()
    site.return_proxy()


def proxy_when_it_is_stored(site: Mortal) -> None:
    site.node.kill()
    site.the_incident()
    site.kill_proxy()
    site.return_proxy()


def agent_when_it_is_stored(site: Mortal) -> None:
    site.node.kill()
    site.the_incident()
    site.kill_agent()
    site.return_agent()


@pytest.mark.parametrize(
    "course",
    [
        agent_as_the_node_dies,
        agent_when_it_has_noted,
        proxy_before_it_happens,
        both_when_it_is_noted,
        proxy_as_the_node_dies,
        both_as_the_node_dies,
        proxy_when_it_is_stored,
        agent_when_it_is_stored,
    ],
    ids=lambda course: course.__name__,
)
def test_whoever_is_killed_it_is_one_incident_told_once_with_its_window(
    course: Callable[[Mortal], None], tmp_path: Path
) -> None:
    with Mortal(tmp_path) as site:
        site.until_seen()
        until("a page in the journal", site.is_journaled)
        course(site)
        found = site.the_incident()
        window = until("the window", lambda: settled(site, found["incident_id"]), PATIENCE_S)
        sums = until("nothing waits", lambda: told(site), PATIENCE_S)
        (again,) = site.get("/incidents")["incidents"]

    assert (again["cause"], again["count"]) == ("ProcessGone", 1)
    assert window["state"] == "Stored", window
    assert sums["produced"] == sums["delivered"] + sums["gapped"]
    assert sums["gapped"] == 0


def settled(site: Mortal, incident_id: str) -> dict[str, Any]:
    """Where the window of an incident stands at last, empty while it is on its way."""
    artifacts = site.get(f"/incidents/{incident_id}")["artifacts"]
    windows = [one for one in artifacts if one["profile"] == "window"]
    return windows[0] if windows and windows[0]["state"] != "Pending" else {}


def told(site: Mortal) -> dict[str, int]:
    """What the agent has counted of occurrences, empty while one waits or none was."""
    where = f"http://{site.agent.addresses['http']}/metrics"
    with programs.opened(where) as answer:
        page = answer.read().decode()
    found = re.findall(r'fodc_agent_occurrences_total\{.*state="(\w+)"\} (\d+)', page)
    sums = {state: int(count) for state, count in found}
    is_done = sums and sums["produced"] and sums["delivered"] + sums["gapped"] == sums["produced"]
    return sums if is_done else {}
