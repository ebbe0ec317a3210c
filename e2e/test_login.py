# SPDX-License-Identifier: Apache-2.0
"""`fodc login` at a real Keycloak: device flow, the proxy's view of the token, renewal, logout."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e import keycloak, programs
from e2e.controlplane import build
from e2e.keycloak import AUDIENCE, CLIENT, Keycloak

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keycloak]:
    if build.building_is_permitted():
        try:
            keycloak.fetch()
        except keycloak.KeycloakError as error:
            pytest.skip(f"NO KEYCLOAK: {error}")
    if why := keycloak.obstacle():
        pytest.skip(f"NO KEYCLOAK: {why}")
    with keycloak.running(tmp_path_factory.mktemp("issuer")) as found:
        yield found


def fodc(home: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fodc_client", *argv],
        env={**os.environ, "XDG_CONFIG_HOME": str(home), "FODC_TOKEN": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_person_logs_in_by_a_browser_and_out_again(issuer: Keycloak, tmp_path: Path) -> None:
    home = tmp_path / "config"
    told = (f"--http-oidc-issuer={issuer.issuer}", f"--http-oidc-audience={AUDIENCE}")
    with programs.running(programs.start_proxy(tmp_path, *told)) as proxy:
        at = ("--proxy", proxy.http)
        assert fodc(home, "nodes", *at).returncode == 1
        logged_in(home, issuer, at)
        asked = fodc(home, "nodes", *at)
        assert asked.returncode == 0, asked.stderr
        (path,) = (home / "fodc" / "logins").glob("*.json")
        before = json.loads(path.read_text())
        assert fodc(home, "nodes", *at).returncode == 0
        after = json.loads(path.read_text())
        # The realm's tokens end within what counts as soon, so each question renews.
        assert after["token"] != before["token"]
        refused = fodc(home, "artifacts", "list", *at)
        assert "anna lacks the right artifacts" in refused.stderr
        out = fodc(home, "logout", *at)
        assert (out.returncode, "logged out" in out.stderr) == (0, True)
        assert "holds there" not in out.stderr
        # What the issuer has taken back renews nothing any more.
        path.write_text(json.dumps(after))
        path.chmod(0o600)
        void = fodc(home, "nodes", *at)
        assert "has ended: `fodc login` again" in void.stderr


def logged_in(home: Path, issuer: Keycloak, at: tuple[str, str]) -> None:
    command = [sys.executable, "-m", "fodc_client", "login", *at]
    asked = subprocess.Popen(
        [*command, "--issuer", issuer.issuer, "--client-id", CLIENT],
        env={**os.environ, "XDG_CONFIG_HOME": str(home)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert asked.stderr is not None
    said = ""
    ends = time.monotonic() + 60
    while (page := re.search(r"or (http\S+user_code=\S+)", said)) is None:
        line = asked.stderr.readline()
        assert line, said
        assert time.monotonic() < ends, said
        said += line
    try:
        keycloak.approve(page[1])
        rest = asked.stderr.read()
        assert asked.wait(60) == 0, said + rest
    finally:
        asked.kill()
        asked.wait()
        asked.stderr.close()
    assert "logged in at" in rest
