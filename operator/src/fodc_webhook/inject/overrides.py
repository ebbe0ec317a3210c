# SPDX-License-Identifier: Apache-2.0
"""What a pod's annotations say over its policy.

The one idea: the same values as in the FodcInjection, read as strictly; a wrong one is named and
the pod gets no agent, since nobody knows what was meant.
"""

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, TypeVar

from fodc_kube.pods import Pod, annotations_of, text
from fodc_protocol.fields import shown
from fodc_webhook.inject.marks import CONTAINER, FLAVOR, MODE, PPROF_PORT, ROLE, TIER
from fodc_webhook.inject.shapes import Kind, is_tier
from fodc_webhook.resources.fodc_injection import Flavor, Mode, Policy

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
EnumT = TypeVar("EnumT", bound=StrEnum)


@dataclass(frozen=True)
class AnnotationError(Exception):
    """An annotation has a value that it cannot have; the message names both."""

    message: str


def overridden(policy: Policy, pod: Pod) -> Policy:
    """Return the policy as the pod's annotations want it; raises AnnotationError."""
    if not annotations_of(pod):
        return policy
    _choice(pod, ROLE, Kind)
    tier = _value(pod, TIER)
    if tier and not is_tier(tier):
        raise _wrong(TIER, "the value of a label, such as hot", tier)
    return replace(
        policy,
        database_container=_container(pod) or policy.database_container,
        flavor=_choice(pod, FLAVOR, Flavor) or policy.flavor,
        mode=_choice(pod, MODE, Mode) or policy.mode,
        pprof_port=_port(pod) or policy.pprof_port,
    )


def database_told_by(pod: Pod) -> str:
    """Return where the database container is named, for messages."""
    if _value(pod, CONTAINER):
        return f"the pod's annotation {CONTAINER}"
    return "databaseContainer of the FodcInjection"


def _value(pod: Pod, name: str) -> str:
    return text(annotations_of(pod).get(name))


def _choice(pod: Pod, name: str, kind: type[EnumT]) -> EnumT | None:
    word = _value(pod, name)
    if not word:
        return None
    if word not in list(kind):
        raise _wrong(name, f"one of {', '.join(kind)}", word)
    return kind(word)


def _container(pod: Pod) -> str:
    name = _value(pod, CONTAINER)
    if name and (len(name) > 63 or not _NAME.fullmatch(name)):
        raise _wrong(CONTAINER, "the name of a container", name)
    return name


def _port(pod: Pod) -> int:
    digits = _value(pod, PPROF_PORT)
    if not digits:
        return 0
    if not (digits.isascii() and digits.isdigit() and 0 < int(digits[:6]) < 65_536):
        raise _wrong(PPROF_PORT, "a port from 1 to 65535", digits)
    return int(digits)


def _wrong(name: str, accepted: str, got: str) -> AnnotationError:
    return AnnotationError(f"the pod's annotation {name} must be {accepted}, got {shown(got)}")
