# SPDX-License-Identifier: Apache-2.0
"""A real Kubernetes control plane for the length of a with-block.

The one idea: etcd, API server and controllers run on free loopback ports in a folder that goes
with them; nothing is kept, so the end is a kill and takes a second.
"""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from e2e.controlplane import auditing, build, fakenodes, marking, processes
from e2e.controlplane.api import Api
from e2e.controlplane.credentials import (
    ADMIN,
    Credentials,
    new_credentials,
    write_service_account_key,
)
from e2e.controlplane.processes import Child, ControlPlaneError

USERS: Final = ("viewer", "profiler", "manager", "stranger")
READY_DEADLINE_S: Final = 45.0
KUBECTL_DEADLINE_S: Final = 45.0


@dataclass(frozen=True, slots=True)
class Serving:
    """Where the API server listens, 0 being a free port, and what else it is told."""

    host: str = "127.0.0.1"
    port: int = 0
    flags: tuple[str, ...] = ()


@dataclass(slots=True)
class ControlPlane:
    """A running control plane; `binaries` are the programs that it is made of."""

    folder: Path
    binaries: build.Binaries
    credentials: Credentials
    port: int
    etcd_port: int
    serving: Serving = field(default_factory=Serving)
    children: dict[str, Child] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Base URL of the API server."""
        return f"https://{self.serving.host}:{self.port}"

    @property
    def ca_file(self) -> Path:
        """Certificate that clients trust: the one that the API server made for itself."""
        return self.folder / "certs" / "apiserver.crt"

    @property
    def kubeconfig(self) -> Path:
        """Kubeconfig with one context per user; the admin's is current."""
        return self.folder / "kubeconfig"

    @property
    def admin_token(self) -> str:
        """Token that may do everything."""
        return self.credentials.admin_token

    @property
    def tokens(self) -> Mapping[str, str]:
        """Tokens by user, the admin's included."""
        return self.credentials.tokens

    def api(self, user: str = ADMIN) -> Api:
        """The API server as this user sees it."""
        return Api(self.url, self.ca_file, self.tokens[user])

    def kubectl(
        self, *arguments: str, user: str = ADMIN, stdin: str = "", check: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as a user; with `check` a failure raises ControlPlaneError with its words."""
        answer = subprocess.run(  # our own server
            [
                self.binaries.path("kubectl"),
                f"--kubeconfig={self.kubeconfig}",
                f"--context={user}",
                f"--cache-dir={self.folder / 'kubectl-cache'}",
                *arguments,
            ],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=KUBECTL_DEADLINE_S,
            check=False,
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
        )
        if check and answer.returncode != 0:
            raise ControlPlaneError(f"kubectl {' '.join(arguments)}:\n{answer.stderr}")
        return answer

    def is_ready(self) -> bool:
        """Tell whether the API server says that it is ready."""
        if not self.ca_file.exists():
            return False
        with contextlib.suppress(OSError):
            return bool(self.api().get("/readyz").body == "ok")
        return False

    def restart_apiserver(self) -> None:
        """Kill the API server and start it again on the same port and data: a watch is cut."""
        self.children.pop("kube-apiserver").end(signal.SIGKILL)
        self.start_child("kube-apiserver", _apiserver_flags(self))
        self.wait_until("API server ready again", self.is_ready)

    def start_child(self, program: str, flags: Sequence[str]) -> None:
        """Start one of the programs."""
        command = [self.binaries.path(program), *flags]
        self.children[program] = processes.start(program, command, self.folder)

    def wait_until(self, what: str, holds: processes.Condition) -> None:
        """Wait until it holds, while every program lives; raises ControlPlaneError."""
        living = tuple(self.children.values())
        processes.wait_until(what, holds, deadline_s=READY_DEADLINE_S, children=living)

    def stop(self) -> None:
        """Kill everything, the last started first, and remove the folder."""
        for child in reversed(list(self.children.values())):
            # A terminated API server waits a minute for watchers that do not close.
            child.end(signal.SIGKILL)
        self.children.clear()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def control_plane(
    folder: Path,
    *,
    scheduler: bool = False,
    kwok: bool = False,
    users: tuple[str, ...] = USERS,
    serving: Serving | None = None,
) -> Iterator[ControlPlane]:
    """Run etcd, API server and controllers, on request a scheduler and kwok's fake nodes.

    `folder` is made and removed; by default the server listens on a free loopback port. Raises
    ControlPlaneError when programs are missing or do not start.
    """
    needed = programs(scheduler=scheduler, kwok=kwok)
    found = build.binaries(build=build.building_is_permitted(), names=needed)
    if isinstance(found, build.Unavailable):
        raise ControlPlaneError(found.reason)
    plane = _start_servers(folder, found, users, serving or Serving())
    try:
        _start_rest(plane, scheduler=scheduler, kwok=kwok)
        yield plane
    finally:
        plane.stop()


def programs(*, scheduler: bool = False, kwok: bool = False) -> tuple[str, ...]:
    """Return the names of the programs that such a control plane is made of."""
    wanted = {"kube-scheduler": scheduler, "kwok": kwok}
    return tuple(name for name in build.OPERATING if wanted.get(name, True))


def _start_servers(
    folder: Path, found: build.Binaries, users: tuple[str, ...], serving: Serving
) -> ControlPlane:
    """Start etcd and the API server."""
    etcd, peer, free = processes.free_ports(3)
    folder.mkdir(parents=True)
    port = serving.port or free
    plane = ControlPlane(folder, found, new_credentials(users), port, etcd, serving)
    try:
        _write_files(plane)
        plane.start_child("etcd", _etcd_flags(plane, peer))
        plane.start_child("kube-apiserver", _apiserver_flags(plane))
        plane.wait_until("API server ready", plane.is_ready)
    except BaseException:
        plane.stop()
        raise
    return plane


def _write_files(plane: ControlPlane) -> None:
    write_service_account_key(plane.folder / "service-accounts.key")
    plane.credentials.write_tokens(plane.folder / "tokens.csv")
    plane.credentials.write_kubeconfig(plane.kubeconfig, plane.url, plane.ca_file)


def _start_rest(plane: ControlPlane, *, scheduler: bool, kwok: bool) -> None:
    plane.start_child("kube-controller-manager", _controller_manager_flags(plane))
    if scheduler:
        plane.start_child("kube-scheduler", _scheduler_flags(plane))
    api, configmaps = plane.api(), f"/api/v1/namespaces/{marking.MARK_NAMESPACE}/configmaps"
    # The namespace is made a moment after the server is ready.
    plane.wait_until("mark", lambda: api.create(configmaps, marking.MARK).status in {201, 409})
    account = "/api/v1/namespaces/default/serviceaccounts/default"
    plane.wait_until("default service account", lambda: api.get(account).status == 200)
    if kwok:
        plane.start_child("kwok", fakenodes.flags(plane.kubeconfig, plane.folder))


# ---- flags: measured, each is needed ---------------------------------------------------------


def _etcd_flags(plane: ControlPlane, peer_port: int) -> Sequence[str]:
    client, peer = f"http://127.0.0.1:{plane.etcd_port}", f"http://127.0.0.1:{peer_port}"
    return (
        f"--data-dir={plane.folder / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
        "--log-level=error",
    )


def _apiserver_flags(plane: ControlPlane) -> Sequence[str]:
    key = plane.folder / "service-accounts.key"
    return (
        f"--etcd-servers=http://127.0.0.1:{plane.etcd_port}",
        f"--bind-address={plane.serving.host}",
        # Without it the server logs each period that a loopback address is no endpoint.
        "--endpoint-reconciler-type=none",
        f"--secure-port={plane.port}",
        f"--cert-dir={plane.folder / 'certs'}",
        f"--token-auth-file={plane.folder / 'tokens.csv'}",
        # The default would let everybody do everything.
        "--authorization-mode=Node,RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        "--allow-privileged=true",
        *auditing.flags(plane.folder),
        *plane.serving.flags,
    )


def _controller_manager_flags(plane: ControlPlane) -> Sequence[str]:
    return (
        f"--kubeconfig={plane.kubeconfig}",
        f"--service-account-private-key-file={plane.folder / 'service-accounts.key'}",
        f"--root-ca-file={plane.ca_file}",
        "--leader-elect=false",
        "--secure-port=0",
    )


def _scheduler_flags(plane: ControlPlane) -> Sequence[str]:
    return (f"--kubeconfig={plane.kubeconfig}", "--leader-elect=false", "--secure-port=0")
