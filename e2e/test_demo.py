# SPDX-License-Identifier: Apache-2.0
"""The demo of the README ends whole, however it is ended."""

import signal
import subprocess
import sys

import pytest

from e2e.controlplane.installing import ROOT
from e2e.kubelet import traces

pytestmark = pytest.mark.timeout(180)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_demo_that_is_told_to_end_leaves_no_process(how: signal.Signals) -> None:
    """C7: SIGTERM left a proxy and three agents behind."""
    command = [sys.executable, "-m", "e2e.demo"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as demo:
        assert demo.stderr is not None
        told = next(line for line in demo.stderr if "three agents are online" in line)
        family = traces.family(demo.pid)
        demo.send_signal(how)
        rest = demo.stderr.read()

    # Itself, a proxy, three agents and three nodes.
    assert len(family.names) >= 8, (told, rest)
    assert demo.returncode == 130
    assert family.left() == []
