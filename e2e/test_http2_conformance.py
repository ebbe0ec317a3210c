# SPDX-License-Identifier: Apache-2.0
"""h2spec against the port of agents: 145 cases of RFC 9113 and RFC 7541."""

import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from e2e import having, programs

ALL_CASES = 145
# Both send a table of 4,096 bytes without a look at our settings, which allow none: what RFC 7541
# §4.2 forbids, and h2spec's own case 6.3/1 wants refused.
REFUSED_ON_PURPOSE = {
    "Sends a dynamic table size update",
    "Sends multiple dynamic table size update",
}


@pytest.mark.timeout(180)
def test_every_case_of_h2spec_passes_but_two_that_ignore_our_settings(tmp_path: Path) -> None:
    program = having.had("HTTP/2 IS NOT CHECKED", "h2spec")
    report = tmp_path / "report.xml"
    with programs.running(programs.start_proxy(tmp_path)) as proxy:
        host, _, port = proxy.grpc.rpartition(":")
        command = [program, "-h", host, "-p", port, "-o", "5", "-j", str(report)]
        subprocess.run(command, capture_output=True, timeout=150, check=False)
    cases = list(ET.parse(report).iter("testcase"))
    failed = {
        one.get("classname")
        for one in cases
        if one.find("failure") is not None or one.find("error") is not None
    }

    assert len(cases) == ALL_CASES
    assert [one for one in cases if one.find("skipped") is not None] == []
    assert failed == REFUSED_ON_PURPOSE
