# SPDX-License-Identifier: Apache-2.0
"""The proxy's reasons in words for people: why, and what to do; pure."""

from typing import Final

from fodc_protocol.errors import Reason, advice

_OF_AGENTS: Final = {
    "NoProcess": "Name the database's container with --node-container, or the injection's "
    "databaseContainer, and check that it runs.",
    "AmbiguousProcess": "Several processes fit: name the database's container with "
    "--node-container, or the injection's databaseContainer.",
    "NotShared": "Without a shared process namespace the agent sees no other container: ask for "
    "flavor Process, then create the pod anew.",
    "FlavorBasic": "Ask for flavor Process or EBPF in the FodcInjection, then create the pod anew.",
    "PermissionDenied": "Run the agent with the UID and GID of the database; an injected agent "
    "does.",
    "OutsideNamespace": "The process lies outside of what the agent's container sees; give the "
    "agent the pod's shared process namespace.",
    "NoCgroup": "Mount the cgroup file system into the agent's container, read-only.",
    "NoPSI": "Boot the machine with psi=1 to have it; all else works without.",
    "NoCapability": "Flavor EBPF gives BPF and PERFMON, in a namespace of the level privileged.",
    "NoBTF": "The kernel needs CONFIG_DEBUG_INFO_BTF; all else works without.",
    "NoTracefs": "Flavor EBPF mounts /sys/kernel/tracing; what needs none of it counts.",
    "Remote": "Create the pod anew so that it gets an agent of its own; missed.action: Evict does.",
    "NotEnabled": "Ask for flavor EBPF in the FodcInjection, or start the agent with "
    "--ktm-enabled.",
    "KernelTooOld": "Kernel telemetry needs a newer kernel; all else works without.",
    "Lockdown": "A kernel that is locked down lets nobody read it; all else works without.",
    "NoHeaders": "Install the headers of the running kernel, or leave --ktm-backend at core.",
    "NoTracepoint": "This kernel has no such tracepoint; the other groups count.",
    "Refused": "The kernel refused the program; the message says what it said. All else works.",
    "NotRead": "Wait for the next round; if it stays, read the agent's log.",
}
"""What to do about reasons that only agents give, for a part that they cannot see."""


def advice_for(reason: str) -> str:
    """Return what to do about a reason, "" for a word of a newer proxy or agent."""
    return advice(Reason(reason)) if reason in set(Reason) else _OF_AGENTS.get(reason, "")


def because(reason: str, message: str) -> str:
    """Return reason and message as one text, "" when there is neither."""
    return ": ".join(word for word in (reason, message) if word)


def with_advice(sentence: str, reason: str) -> str:
    """Return the sentence followed by advice, where the reason is known."""
    hint = advice_for(reason)
    return f"{sentence.rstrip('.')}. {hint}" if hint else sentence
