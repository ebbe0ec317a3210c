# SPDX-License-Identifier: Apache-2.0
"""The first process of a node: it runs in namespaces of its own and everything dies with it.

    python inside.py FOLDER         waits for FOLDER/node.json, then for FOLDER/kubeconfig

The one idea: what a container runtime writes below /run, /var/lib and /var/log goes into memory
that only this mount namespace sees, so nothing has to be cleaned up. Standard library only.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

POLL_S = 0.02
WAIT_S = 60.0
PRIVATE = ("/run", "/var/lib", "/var/log")
VOLUMES = tuple(f"/var/lib/volumes/{number}" for number in range(4))
"""Folders that volumes of the node may be made of."""


def say(text: str) -> None:
    """Write into the log of the node."""
    print(f"[{time.monotonic():.2f}] {text}", flush=True)


def wait_for(path: Path) -> None:
    """Wait until a file is there; it is moved to its name when complete."""
    ends_at = time.monotonic() + WAIT_S
    while not path.exists():
        if time.monotonic() > ends_at:
            raise TimeoutError(f"{path}: not within {WAIT_S:g} s")
        time.sleep(POLL_S)


def run(*command: str) -> None:
    """Run a command that must succeed."""
    subprocess.run(command, check=True, timeout=WAIT_S)


def separate() -> None:
    """Hide what the host has where the runtime writes; pods may pass mounts on among them."""
    run("mount", "--make-rprivate", "/")
    run("mount", "--make-rshared", "/")
    for folder in PRIVATE:
        run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", folder)
    for folder in ("/var/lib/kubelet", "/run/containerd", *VOLUMES):
        Path(folder).mkdir(parents=True)
    # The host may not have it mounted, and pods may ask for it.
    subprocess.run(["mount", "-t", "tracefs", "tracefs", "/sys/kernel/tracing"], check=False)


def network(node: dict[str, Any]) -> None:
    """Use the link whose other end is on the host."""
    run("ip", "link", "set", "lo", "up")
    run("ip", "address", "add", f"{node['ip']}/24", "dev", node["link"])
    run("ip", "link", "set", node["link"], "up")
    run("ip", "route", "add", "default", "via", node["gateway"])
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def start(folder: Path, name: str, command: list[str]) -> int:
    """Start a daemon that logs into the folder; return its process id."""
    with (folder / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=folder
        )
    say(f"{name} started")
    return process.pid


def import_images(archives: list[str]) -> None:
    """Wait for the runtime and give it the images."""
    ends_at = time.monotonic() + WAIT_S
    while subprocess.run(["ctr", "version"], capture_output=True, check=False).returncode:
        if time.monotonic() > ends_at:
            raise TimeoutError("containerd does not answer")
        time.sleep(POLL_S)
    for archive in archives:
        run("ctr", "--namespace", "k8s.io", "images", "import", archive)
    say("images imported")


def bury(daemons: dict[int, str]) -> None:
    """Wait for children until a daemon ends: orphans of the whole namespace are ours."""
    while True:
        pid, status = os.wait()
        if pid in daemons:
            raise ChildProcessError(f"{daemons[pid]} ended with status {status}")


def main(folder: Path) -> None:
    """Become the node; the end of either daemon is the end of the node."""
    separate()
    wait_for(folder / "node.json")
    node = json.loads((folder / "node.json").read_text())
    network(node)
    daemons = {start(folder, "containerd", node["containerd"]): "containerd"}
    import_images(node["images"])
    wait_for(folder / "kubeconfig")
    daemons[start(folder, "kubelet", node["kubelet"])] = "kubelet"
    bury(daemons)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
