# SPDX-License-Identifier: Apache-2.0
"""What our programs asked of the API servers of a run, as the servers' audit logs tell it.

The one idea: a right is one that was seen used. Each control plane writes what the two
ServiceAccounts of the manifests asked and were allowed, and what the same programs asked where a
test gave them the administrator's token; the last test holds the manifests against it. Where a
run has several processes, they share a folder that the environment names.
"""

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from e2e.controlplane.credentials import ADMIN

_HOME: Final = "system:serviceaccount:fodc-system:"
_PROGRAMS: Final = ("fodc-operator", "fodc-webhook")
ACCOUNTS: Final = tuple(f"{_HOME}{name}" for name in _PROGRAMS)
_POLICY: Final = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "Panic"],
    "rules": [{"level": "Metadata", "users": [*ACCOUNTS, ADMIN]}, {"level": "None"}],
}
_ALLOWED: Final = "allow"
FOLDER_VARIABLE: Final = "FODC_AUDIT_FOLDER"


@dataclass(frozen=True, slots=True, order=True)
class Use:
    """One right of one account; `resource` is written as in a rule, such as pods/log."""

    account: str
    verb: str
    group: str
    resource: str

    def __str__(self) -> str:
        place = f"{self.resource}.{self.group}" if self.group else self.resource
        return f"{self.account.rpartition(':')[2]} may {self.verb} {place}"


@cache
def _own() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="fodc-audit-")


def _kept() -> Path:
    """Return the folder of the logs: not that of a control plane, which goes with it."""
    return Path(os.environ.get(FOLDER_VARIABLE) or _own().name)


def flags(folder: Path) -> Sequence[str]:
    """Return the flags of an API server that writes down what the two accounts ask."""
    policy = folder / "audit-policy.yaml"
    policy.write_text(yaml.safe_dump(_POLICY))
    log = Path(tempfile.mkdtemp(dir=_kept())) / "audit.log"
    return f"--audit-policy-file={policy}", f"--audit-log-path={log}"


def note_file(path: Path) -> None:
    """Keep that tests of this file ran."""
    _note_of(path).touch()


def ran(path: Path) -> bool:
    """Tell whether tests of this file ran."""
    return _note_of(path).exists()


def _note_of(path: Path) -> Path:
    return _kept() / f"{path.parent.name}-{path.name}.ran"


def used() -> set[Use]:
    """Return every right that was used until now."""
    return {use for log in _kept().glob("*/audit.log") for use in _uses(log)}


def watched(group: str) -> set[tuple[str, str, str]]:
    """Return who watched which resource of an API group until now, and by which library.

    The library is the first part of the user agent, such as kopf.
    """
    events = [e for log in _kept().glob("*/audit.log") for e in _events(log)]
    return {
        (event["user"]["username"], event["objectRef"]["resource"], _library_of(event))
        for event in events
        if event["verb"] == "watch" and event.get("objectRef", {}).get("apiGroup") == group
    }


def _library_of(event: dict[str, Any]) -> str:
    return str(event.get("userAgent", "")).partition("/")[0]


def _events(log: Path) -> Iterator[dict[str, Any]]:
    for line in log.read_text().splitlines():
        yield json.loads(line)


def _uses(log: Path) -> Iterator[Use]:
    for event in _events(log):
        named = event.get("objectRef")
        decision = event.get("annotations", {}).get("authorization.k8s.io/decision")
        account = _account_of(event)
        if named is None or decision != _ALLOWED or account is None:
            continue
        part = f"/{named['subresource']}" if named.get("subresource") else ""
        group, resource = named.get("apiGroup", ""), named["resource"] + part
        yield Use(account, event["verb"], group, resource)


def _account_of(event: dict[str, Any]) -> str | None:
    """Return which of the two asked; the administrator's own calls are nobody's."""
    user, program = event["user"]["username"], event.get("userAgent", "")
    if user in ACCOUNTS:
        return str(user)
    return f"{_HOME}{program}" if program in _PROGRAMS else None
