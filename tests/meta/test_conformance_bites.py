# SPDX-License-Identifier: Apache-2.0
"""Tests that are named after a case fail when the case is broken: shown for ten of them (T3).

Each row breaks one rule in a copy of its package; the test of that case is run against the copy.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# A whole pytest starts for each: seconds, and many of them on a machine that others use as well.
RUN_DEADLINE_S = 150
pytestmark = pytest.mark.timeout(2 * RUN_DEADLINE_S + 30)
PROXY, PROTOCOL, AGENT = (
    "operator/src/fodc_proxy",
    "proto/src/fodc_protocol",
    "agent/src/fodc_agent",
)
MEMBERSHIP = "fleet/membership.py"
OF_MEMBERS = "tests/proxy/fleet/test_membership.py"
SERVED = "tests/proxy/wire/test_existing_contract_served.py"


@dataclass(frozen=True)
class Break:
    """What is broken, and the test that must notice."""

    case: str
    package: str
    file: str
    right: str
    wrong: str
    test: str


BREAKS = [
    Break(
        "R03",
        PROXY,
        MEMBERSHIP,
        "maximum number of agents ({limit}) reached",
        "too many agents",
        f"{OF_MEMBERS}::test_r03_limit_reached_says_the_maximum",
    ),
    Break(
        "R05",
        PROXY,
        MEMBERSHIP,
        '"node role cannot be empty"',
        '"no role"',
        f"{OF_MEMBERS}::test_r05_empty_role_is_refused_and_checked_before_the_pod",
    ),
    Break(
        "R08",
        PROXY,
        MEMBERSHIP,
        "heard_ms=max(now.steady_ms, before.heard_ms)",
        "heard_ms=now.steady_ms",
        f"{OF_MEMBERS}::test_r08_heartbeat_moves_the_time_forward_and_never_back",
    ),
    Break(
        "R19",
        PROXY,
        MEMBERSHIP,
        "elif silent_ms > self.limits.heartbeat_timeout_ms",
        "elif silent_ms >= self.limits.heartbeat_timeout_ms",
        f"{OF_MEMBERS}::test_r19_silence_strictly_beyond_the_timeout_is_offline",
    ),
    Break(
        "R20",
        PROXY,
        MEMBERSHIP,
        "if silent_ms > self.limits.cleanup_timeout_ms",
        "if silent_ms >= self.limits.cleanup_timeout_ms",
        f"{OF_MEMBERS}::test_r20_silence_strictly_beyond_cleanup_is_gone",
    ),
    Break(
        "G08",
        PROXY,
        "wire/existing/service.py",
        "context.abort(Status.UNAUTHENTICATED, NO_AGENT_ID)",
        "context.abort(grpc.StatusCode.UNKNOWN, NO_AGENT_ID)",
        f"{SERVED}::test_g08_stream_without_an_id_is_unauthenticated",
    ),
    Break(
        "H08",
        PROTOCOL,
        "metrics/page.py",
        "# HELP {name} {escape_help(text)}",
        "# HELP {name}",
        "tests/protocol/metrics/test_exposition.py::test_h08_page_has_help_and_type",
    ),
    Break(
        "M18",
        PROTOCOL,
        "metrics/samples.py",
        "if value and key not in _STAMPED_BY_AGENT and name not in taken",
        "if value and key not in _STAMPED_BY_AGENT",
        "tests/protocol/metrics/test_samples.py::test_m18_existing_labels_are_not_overwritten",
    ),
    Break(
        "T-PARSE-11",
        AGENT,
        "recorder/lines.py",
        "_ESCAPE: Final = re.compile(r'\\\\([\\\\n\"])')",
        "_ESCAPE: Final = re.compile(r'\\\\([n\"])')",
        "tests/agent/recorder/test_page_grammar.py::test_t_parse_11_12_escapes_are_honoured",
    ),
    Break(
        "T-CMD-05",
        AGENT,
        "occurrences/settings.py",
        "not 1 <= percent <= 100",
        "not 0 <= percent <= 100",
        "tests/agent/program/test_settings.py::"
        "test_t_cmd_05_a_trigger_percent_out_of_range_is_rejected",
    ),
]


def copy_of(package: str, folder: Path) -> Path:
    """Return a copy made of links: what was compiled of a file is good as long as it stays."""
    copy = folder / Path(package).name
    shutil.copytree(ROOT / package, copy, copy_function=os.symlink)
    return copy


def run_against(folder: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    """Run tests with the packages of a folder before those that are installed."""
    known = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    # Of the plugins just what the settings name: others take longer to import than a test takes.
    plugins = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "pytest_timeout"}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
        cwd=ROOT,
        env={**known, **plugins, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=RUN_DEADLINE_S,
        check=False,
    )


@pytest.mark.parametrize("one", BREAKS, ids=[one.case for one in BREAKS])
def test_a_broken_case_is_noticed_by_the_test_of_its_name(one: Break, tmp_path: Path) -> None:
    file = copy_of(one.package, tmp_path) / one.file
    text = file.read_text()
    assert text.count(one.right) == 1, f"{one.case}: the rule stands elsewhere now"
    file.unlink()  # the link, not what it leads to
    file.write_text(text.replace(one.right, one.wrong))
    told = run_against(tmp_path, one.test)

    assert told.returncode == 1, told.stdout + told.stderr
    assert " failed" in told.stdout


def test_the_whole_rules_are_kept(tmp_path: Path) -> None:
    """The same tests pass against a copy in which nothing is broken."""
    for package in (PROXY, PROTOCOL, AGENT):
        copy_of(package, tmp_path)
    told = run_against(tmp_path, *(one.test for one in BREAKS))

    assert told.returncode == 0, told.stdout + told.stderr
