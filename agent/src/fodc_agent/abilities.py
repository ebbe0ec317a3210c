# SPDX-License-Identifier: Apache-2.0
"""What this agent can do where it stands, from facts about its process and kernel. Pure.

The one idea: permissions are read and judged before anything is tried, so that every source that
cannot work has its reason from the first moment on, in the log, on the link and in FodcNode.
Which facts matter: kubernetes-kopf §4.4 (measured in pods), control-plane §B5.
"""

from collections.abc import Mapping
from typing import Final

from fodc_protocol.capabilities import SOURCE_KINDS, CapabilityState
from fodc_protocol.lean import dataclass
from fodc_protocol.link.frames import CapabilityState as Told

_SYS_ADMIN: Final = 1 << 21
_PERFMON: Final = 1 << 38
_BPF: Final = 1 << 39
LOADING_CAPABILITIES: Final = _PERFMON | _BPF
"""What only the loading of programs needs."""
_OLDEST_KERNEL: Final = (5, 17)
"""The first that relocates programs itself (CO-RE in the kernel)."""
_OLDEST_WITH_LIBBPF: Final = (5, 11)
"""The first with storage by task; libbpf relocates."""
KERNEL: Final = SOURCE_KINDS[-1]
TURN_ON: Final = "--ktm-enabled or flavor EBPF turns it on"


@dataclass(frozen=True, slots=True)
class Standing:
    """Who this process is to the kernel; masks as in /proc/self/status."""

    uid: int = -1
    gid: int = -1
    effective: int = 0
    bounding: int = 0
    no_new_privs: bool = False
    seccomp: int = 0
    """0 none, 1 strict, 2 filter."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the self-check found.

    `perf_event_paranoid` is None where it cannot be read; `tracefs` is readable, denied or absent;
    `cgroup` is "v1", "v2", "v1+v2" or empty; `node_pid` is 0 while the node's process is not
    known, and `node_gap` then says why as reason and message; `node_root` is whether
    /proc/<pid>/root can be read, None while there is no process.
    """

    standing: Standing = Standing()
    perf_event_paranoid: int | None = None
    btf: bool = False
    libbpf: bool = False
    """Whether libbpf.so.1 is here, with which older kernels are loaded into."""
    tracefs: str = "absent"
    release: tuple[int, int] | None = None
    """Version of the kernel, None where it has another form."""
    lockdown: str = ""
    """What the kernel locks down: "integrity", "confidentiality" or nothing."""
    cgroup: str = ""
    pressure: bool = False
    shares_processes: bool = False
    node_pid: int = 0
    node_gap: tuple[str, str] = ("", "")
    node_root: bool | None = None

    @property
    def may_bpf(self) -> bool:
        """Whether bpf() would load tracing programs, as far as capabilities tell."""
        return bool(self.standing.effective & (_BPF | _SYS_ADMIN))

    @property
    def may_perf(self) -> bool:
        """Whether perf_event_open() would watch the whole machine."""
        by_right = bool(self.standing.effective & (_PERFMON | _SYS_ADMIN))
        return by_right or (self.perf_event_paranoid is not None and self.perf_event_paranoid < 0)


def parse_standing(text: str) -> Standing:
    """Parse /proc/self/status; raises KeyError, IndexError and ValueError for other forms."""
    lines = (line.partition(":") for line in text.splitlines())
    fields = {name: value.split() for name, _, value in lines}
    return Standing(
        # The second of four is the effective one.
        uid=int(fields["Uid"][1]),
        gid=int(fields["Gid"][1]),
        effective=int(fields["CapEff"][0], 16),
        bounding=int(fields["CapBnd"][0], 16),
        no_new_privs=fields.get("NoNewPrivs", ["0"])[0] == "1",
        seccomp=int(fields.get("Seccomp", ["0"])[0]),
    )


# ---- the matrix -----------------------------------------------------------------------------


def abilities(facts: Facts, flavor: str) -> tuple[Told, ...]:
    """Return what the sources of node and kernel can do; readings refine it later."""
    return (_process(facts), _cgroup(facts), _pressure(facts), kernel_ability(facts, flavor))


REMOTE_MESSAGE: Final = (
    "the agent is attached over the network: it reads the node's pages and profiles, and nothing "
    "of its machine; only an agent in the node's pod can"
)


def remote_abilities() -> tuple[Told, ...]:
    """Return the same kinds for an agent that reaches its node over the network only."""
    return _alike(CapabilityState.UNSUPPORTED, "Remote", REMOTE_MESSAGE)


def unread_abilities() -> tuple[Told, ...]:
    """Return the same kinds for an agent that has not looked yet."""
    return _alike(CapabilityState.UNKNOWN, "NotRead", "the agent has not looked yet")


def _alike(state: CapabilityState, reason: str, message: str) -> tuple[Told, ...]:
    return tuple(Told(kind, state, reason, message) for kind in SOURCE_KINDS)


def _process(facts: Facts) -> Told:
    if facts.node_pid:
        return Told("process", CapabilityState.SUPPORTED)
    return Told("process", CapabilityState.UNSUPPORTED, *facts.node_gap)


def _cgroup(facts: Facts) -> Told:
    if not facts.cgroup:
        text = "no cgroup hierarchy is mounted at /sys/fs/cgroup"
        return Told("cgroup", CapabilityState.UNSUPPORTED, "NoCgroup", text)
    if not facts.node_pid:
        return Told("cgroup", CapabilityState.UNSUPPORTED, *facts.node_gap)
    if facts.node_root:
        return Told("cgroup", CapabilityState.SUPPORTED)
    return Told("cgroup", CapabilityState.UNKNOWN, "NotRead", "the cgroup was not read yet")


def _pressure(facts: Facts) -> Told:
    if not facts.pressure:
        text = "this kernel has no pressure stall information (CONFIG_PSI, boot option psi=1)"
        return Told("pressure", CapabilityState.UNSUPPORTED, "NoPSI", text)
    return Told("pressure", CapabilityState.SUPPORTED)


def kernel_ability(facts: Facts, flavor: str) -> Told:
    """Return what stands between this process and kernel telemetry; nothing is loaded to tell."""
    lacks = kernel_lacks(facts)
    if not lacks:
        text = f"the kernel would permit it; {TURN_ON}"
        return Told(KERNEL, CapabilityState.DISABLED, "NotEnabled", text)
    reason = "FlavorBasic" if flavor == "basic" else next(iter(lacks))
    advice = "" if flavor == "ebpf" else "; flavor EBPF gives capabilities and tracefs"
    return Told(KERNEL, CapabilityState.UNSUPPORTED, reason, "; ".join(lacks.values()) + advice)


def kernel_lacks(facts: Facts) -> Mapping[str, str]:
    """Return what is missing for any kernel telemetry, by reason, the most important first.

    Where tracefs is missing some counters are, and not all: that is found out when they are loaded.
    """
    lacks: dict[str, str] = {}
    missing = [
        name for name, has in (("BPF", facts.may_bpf), ("PERFMON", facts.may_perf)) if not has
    ]
    if missing:
        lacks["NoCapability"] = _without(missing, facts.standing)
    wanted = _OLDEST_WITH_LIBBPF if facts.libbpf else _OLDEST_KERNEL
    if facts.release is not None and facts.release < wanted:
        told, oldest = (".".join(map(str, one)) for one in (facts.release, wanted))
        advice = "" if facts.libbpf else ", or 5.11 where libbpf.so.1 is installed"
        lacks["KernelTooOld"] = f"the kernel is {told}, and {oldest} is the oldest that can{advice}"
    if facts.lockdown == "confidentiality":
        lacks["Lockdown"] = "the kernel is locked down (confidentiality): no program may read it"
    if not facts.btf:
        lacks["NoBTF"] = "/sys/kernel/btf/vmlinux cannot be read"
    return lacks


def _without(missing: list[str], standing: Standing) -> str:
    text = " and ".join(f"CAP_{name}" for name in missing) + " missing"
    wanted = (_BPF if "BPF" in missing else 0) | (_PERFMON if "PERFMON" in missing else 0)
    if standing.uid and standing.bounding & wanted:
        return f"{text}: UID {standing.uid} does not get the added ones, UID 0 does"
    return text


def shown(facts: Facts, told: tuple[Told, ...]) -> str:
    """Return facts and verdicts as one line for the log."""
    standing = facts.standing
    paranoid = "?" if facts.perf_event_paranoid is None else facts.perf_event_paranoid
    root = {None: "none", True: "readable", False: "denied"}[facts.node_root]
    pairs = {
        "uid": standing.uid,
        "gid": standing.gid,
        "cap_eff": f"{standing.effective:x}",
        "cap_bnd": f"{standing.bounding:x}",
        "no_new_privs": int(standing.no_new_privs),
        "seccomp": standing.seccomp,
        "perf_event_paranoid": paranoid,
        "bpf": _yes(is_so=facts.may_bpf),
        "perf": _yes(is_so=facts.may_perf),
        "btf": _yes(is_so=facts.btf),
        "tracefs": facts.tracefs,
        "lockdown": facts.lockdown or "none",
        "cgroup": facts.cgroup or "none",
        "psi": _yes(is_so=facts.pressure),
        "pid_namespace": "shared" if facts.shares_processes else "own",
        "node_pid": facts.node_pid,
        "node_root": root,
    }
    verdicts = (f"{one.kind}={one.state}" + f"/{one.reason}" * bool(one.reason) for one in told)
    return " ".join((*(f"{name}={value}" for name, value in pairs.items()), *verdicts))


def _yes(*, is_so: bool) -> str:
    return "yes" if is_so else "no"
