# SPDX-License-Identifier: Apache-2.0
"""Files of containerd, its network plugin and the kubelet, and what the API server must know.

The one idea: every setting is here because something does not work without it on a small machine
that is not its own: no systemd, no raised limits, no iptables, no swap policy, no image store.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trustme
import yaml

from e2e.kubelet.names import DOMAIN
from e2e.kubelet.place import Place
from e2e.kubelet.requirements import CNI

PAUSE_IMAGE: Final = "fodc.test/pause:1"
REGISTRY_PORT: Final = 5000
SOCKET: Final = "/run/containerd/containerd.sock"
_NO_SNAPSHOTTERS: Final = (
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.internal.v1.opt",
)


@dataclass(frozen=True, slots=True)
class Authority:
    """Who may talk to the kubelet: whoever has a certificate of this CA."""

    ca_file: Path
    certificate: Path
    key: Path


def write_kubelet_authority(folder: Path) -> Authority:
    """Make the CA that the kubelet trusts and the API server's certificate from it."""
    authority = Authority(folder / "kubelet-ca.crt", folder / "client.crt", folder / "client.key")
    ca = trustme.CA()
    # The group lets the kubelet's own question, whether this client may, end with yes.
    client = ca.issue_cert(
        "kube-apiserver.test", common_name="kube-apiserver", organization_name="system:masters"
    )
    ca.cert_pem.write_to_path(authority.ca_file)
    client.cert_chain_pems[0].write_to_path(authority.certificate)
    client.private_key_pem.write_to_path(authority.key)
    return authority


def apiserver_flags(place: Place, authority: Authority) -> tuple[str, ...]:
    """Return what the API server must be told about the node."""
    return (
        # Its first address is the host's: the Service `kubernetes` needs no kube-proxy.
        f"--service-cluster-ip-range={place.network}",
        f"--advertise-address={place.host_ip}",
        # A webhook's Service is asked at its endpoints: there is no kube-proxy.
        "--enable-aggregator-routing=true",
        # By default it would look up the name of the node for logs and exec.
        "--kubelet-preferred-address-types=InternalIP",
        f"--kubelet-client-certificate={authority.certificate}",
        f"--kubelet-client-key={authority.key}",
    )


def write_containerd(folder: Path) -> None:
    """Write containerd.toml; its folders are in the node's own /run and /var/lib."""
    disabled = ", ".join(json.dumps(name) for name in _NO_SNAPSHOTTERS)
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    (folder / "containerd.toml").write_text(
        f"""version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = [{disabled}]
[grpc]
  address = "{SOCKET}"
[{cri}]
  sandbox_image = "{PAUSE_IMAGE}"
  # Without CAP_SYS_RESOURCE no score can be lowered below the current one.
  restrict_oom_score_adj = true
  disable_apparmor = true
  enable_unprivileged_ports = true
  [{cri}.containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [{cri}.containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [{cri}.containerd.runtimes.runc.options]
        SystemdCgroup = false
  [{cri}.cni]
    bin_dir = "{CNI}"
    conf_dir = "{folder / "cni"}"
  [{cri}.registry]
    config_path = "{folder / "registries"}"
"""
    )


def write_network(folder: Path, place: Place) -> None:
    """Write the network of the pods: one bridge, no masquerading, so no iptables."""
    addresses = {
        "type": "host-local",
        "ranges": [[{"subnet": place.pods}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": "/run/cni-addresses",
    }
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": False,
        "ipam": addresses,
    }
    whole = {"cniVersion": "0.4.0", "name": "fodc", "plugins": [bridge]}
    (folder / "cni").mkdir()
    (folder / "cni" / "10-fodc.conflist").write_text(json.dumps(whole))


def write_kubelet(folder: Path, place: Place) -> None:
    """Write kubelet.yaml."""
    nothing_is_short = dict.fromkeys(
        ("memory.available", "nodefs.available", "imagefs.available", "nodefs.inodesFree"), "0%"
    )
    whole: dict[str, Any] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": place.node_ip,
        "port": 10250,
        "readOnlyPort": 0,
        "healthzPort": 0,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(folder / "kubelet-ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{place.cgroup}",
        "cgroupsPerQOS": True,
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        "failCgroupV1": False,
        "oomScoreAdj": 0,
        "maxOpenFiles": 20_000,
        "makeIPTablesUtilChains": False,
        "podLogsDir": "/var/log/pods",
        "clusterDNS": [place.host_ip],
        "clusterDomain": DOMAIN,
        "resolvConf": "",
        "evictionHard": nothing_is_short,
        "imageGCHighThresholdPercent": 100,
        "seccompDefault": True,
        "syncFrequency": "10s",
        "nodeStatusReportFrequency": "10s",
        "shutdownGracePeriod": "0s",
    }
    (folder / "kubelet.yaml").write_text(yaml.safe_dump(whole))


def write_registry(folder: Path, place: Place) -> None:
    """Let the runtime take images from a registry at the host's end of the link, in the clear."""
    hosts = folder / "registries" / registry_host(place)
    hosts.mkdir(parents=True)
    url = f"http://{registry_host(place)}"
    (hosts / "hosts.toml").write_text(
        f'server = "{url}"\n[host."{url}"]\n  capabilities = ["pull", "resolve"]\n'
    )


def registry_host(place: Place) -> str:
    """Return host and port of that registry."""
    return f"{place.host_ip}:{REGISTRY_PORT}"
