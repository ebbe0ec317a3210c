# SPDX-License-Identifier: Apache-2.0
"""A real Keycloak for tests, out of its distribution on Maven Central.

The one idea: the distribution lies unpacked and built in the user's cache; a test owns the process
and a realm with one client, one role and one person. Without it the test skips and says so.
"""

import contextlib
import http.client
import http.cookiejar
import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any, Final

from e2e.commands import cache_root
from e2e.controlplane import processes

VERSION: Final = "26.7.3"
ARTIFACT: Final = f"org.keycloak:keycloak-quarkus-dist:{VERSION}:zip"
REALM: Final = "ops"
CLIENT: Final = "fodc-cli"
AUDIENCE: Final = "fodc"
PERSON: Final = "anna"
PASSWORD: Final = "a-password-of-these-tests"
START_S: Final = 480.0
# No file of a database, no second port.
_BUILT_FOR: Final = ("--db=dev-mem", "--health-enabled=false", "--metrics-enabled=false")
_BUILD_S: Final = 900.0
_ADMIN: Final = "admin"


class KeycloakError(Exception):
    """Keycloak cannot be had or did not start; the text says why."""


@dataclass(frozen=True, slots=True)
class Keycloak:
    """A running issuer."""

    base: str

    @property
    def issuer(self) -> str:
        """The URL by which its realm names itself."""
        return f"{self.base}/realms/{REALM}"


def home() -> Path:
    """Where the distribution is kept."""
    return cache_root() / "keycloak" / f"keycloak-{VERSION}"


def obstacle() -> str:
    """Say why there is no Keycloak here, empty when there is."""
    if shutil.which("java") is None:
        return "no Java"
    if not _mark().exists():
        return f"no Keycloak in {home()}; FODC_BUILD=1 fetches it (needs mvn, 180 MB)"
    return ""


def fetch() -> None:
    """Fetch and unpack the distribution; raises KeycloakError."""
    if not obstacle():
        return
    if shutil.which("mvn") is None or shutil.which("java") is None:
        raise KeycloakError("Keycloak needs mvn and Java")
    goal = home().parent
    goal.mkdir(parents=True, exist_ok=True)
    command = ["mvn", "-q", "-B", "dependency:copy", f"-Dartifact={ARTIFACT}"]
    ran = subprocess.run(
        [*command, f"-DoutputDirectory={goal}"],
        capture_output=True,
        text=True,
        timeout=_BUILD_S,
        check=False,
    )
    if ran.returncode:
        raise KeycloakError(f"mvn cannot fetch {ARTIFACT}: {ran.stdout[-500:]}")
    with zipfile.ZipFile(goal / f"keycloak-quarkus-dist-{VERSION}.zip") as packed:
        packed.extractall(goal)
    program = home() / "bin" / "kc.sh"
    program.chmod(0o755)
    built = subprocess.run(
        [program, "build", *_BUILT_FOR],
        capture_output=True,
        text=True,
        timeout=_BUILD_S,
        check=False,
    )
    if built.returncode:
        raise KeycloakError(f"Keycloak cannot be built: {built.stdout[-500:]}")
    _mark().touch()


def _mark() -> Path:
    """Say that it is whole."""
    return home() / ".built"


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Keycloak]:
    """Own a Keycloak for a with-block; its data are in memory and end with it."""
    (port,) = processes.free_ports(1)
    log = (folder / "keycloak.log").open("wb")
    process = subprocess.Popen(
        [
            home() / "bin" / "kc.sh",
            "start",
            "--optimized",
            "--http-enabled=true",
            "--http-host=127.0.0.1",
            f"--http-port={port}",
            f"--hostname=http://127.0.0.1:{port}",
        ],
        env={
            **os.environ,
            "KC_BOOTSTRAP_ADMIN_USERNAME": _ADMIN,
            "KC_BOOTSTRAP_ADMIN_PASSWORD": PASSWORD,
            "JAVA_OPTS_KC_HEAP": "-Xmx512m",
        },
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    log.close()
    found = Keycloak(f"http://127.0.0.1:{port}")
    try:
        _wait(found, process, folder / "keycloak.log")
        _make_realm(found)
        yield found
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def approve(page: str, person: str = PERSON, password: str = PASSWORD) -> str:
    """Log in as a browser would, and let the device in; return the last page."""
    # Its cookies are for TLS, which browsers do not ask of their own machine.
    policy = http.cookiejar.DefaultCookiePolicy(secure_protocols=("http", "https"))
    jar = http.cookiejar.CookieJar(policy)
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    shown = _opened(browser, page)
    shown = _submitted(browser, page, shown, {"username": person, "password": password})
    return _submitted(browser, page, shown, {"accept": "Yes"})


def _submitted(
    browser: urllib.request.OpenerDirector, base: str, page: str, form: Mapping[str, str]
) -> str:
    action = re.search(r'<form[^>]*action="([^"]+)"', page)
    assert action is not None, page[:2000]
    hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page)
    # Some of its forms say where they go from the root only.
    return _opened(
        browser, urllib.parse.urljoin(base, unescape(action[1])), {**dict(hidden), **form}
    )


def _opened(
    browser: urllib.request.OpenerDirector, url: str, form: Mapping[str, str] | None = None
) -> str:
    data = None if form is None else urllib.parse.urlencode(form).encode()
    with browser.open(url, data, timeout=30) as answer:
        return str(answer.read().decode())


# ---- its realm ----------------------------------------------------------------------------------


def _wait(keycloak: Keycloak, process: subprocess.Popen[bytes], log: Path) -> None:
    ends = time.monotonic() + START_S
    while time.monotonic() < ends and process.poll() is None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            _send("GET", f"{keycloak.base}/realms/master/.well-known/openid-configuration")
            return
        time.sleep(0.5)
    raise KeycloakError(f"Keycloak did not start:\n{log.read_text()[-2000:]}")


def _make_realm(keycloak: Keycloak) -> None:
    form = {
        "grant_type": "password",
        "client_id": "admin-cli",
        "username": _ADMIN,
        "password": PASSWORD,
    }
    answer = _send(
        "POST", f"{keycloak.base}/realms/master/protocol/openid-connect/token", form=form
    )
    audience = {
        "name": "audience",
        "protocol": "openid-connect",
        "protocolMapper": "oidc-audience-mapper",
        "config": {"included.custom.audience": AUDIENCE, "access.token.claim": "true"},
    }
    client = {
        "clientId": CLIENT,
        "publicClient": True,
        "standardFlowEnabled": False,
        "attributes": {"oauth2.device.authorization.grant.enabled": "true"},
        "protocolMappers": [audience],
    }
    person = {
        "username": PERSON,
        "enabled": True,
        "email": "anna@example.org",
        "firstName": "Anna",
        "lastName": "A",
        "realmRoles": ["fodc-viewer"],
        "credentials": [{"type": "password", "value": PASSWORD, "temporary": False}],
    }
    realm = {
        "realm": REALM,
        "enabled": True,
        # A token that is renewed at once: `fodc` renews what ends within half a minute.
        "accessTokenLifespan": 20,
        "roles": {"realm": [{"name": "fodc-viewer"}]},
        "clients": [client],
        "users": [person],
    }
    _send("POST", f"{keycloak.base}/admin/realms", body=realm, token=answer["access_token"])


def _send(
    method: str,
    url: str,
    *,
    form: Mapping[str, str] | None = None,
    body: object = None,
    token: str = "",
) -> Any:
    data = urllib.parse.urlencode(form).encode() if form else None
    request = urllib.request.Request(url, data, method=method)
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=30) as answer:
        said = answer.read()
    return json.loads(said) if said else None
