# SPDX-License-Identifier: Apache-2.0
"""What shells complete: words of the parser by argcomplete, names of the proxy's by functions here.

The one idea: a completer is asked while a person waits at the prompt, so it asks the proxy once and
briefly, and offers nothing where there is no answer; an error has no place on a command line.
"""

import argparse
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NoReturn, Protocol, TypeVar
from urllib.parse import quote

if TYPE_CHECKING:
    from fodc_api.cluster import Node

T = TypeVar("T")
_WAIT_S: Final = 1.5


class Completer(Protocol):
    """What argcomplete asks for the words that may stand at the cursor."""

    def __call__(
        self, *, prefix: str, parsed_args: argparse.Namespace, **more: object
    ) -> Iterable[str]:
        """Return words that begin with `prefix`."""


def complete(parser: argparse.ArgumentParser) -> NoReturn:
    """Answer the shell that asked (argcomplete's protocol of environment variables) and end."""
    import argcomplete  # noqa: PLC0415 - only shells pay for it
    from argcomplete.completers import SuppressCompleter  # noqa: PLC0415 - the same

    argcomplete.autocomplete(
        parser, default_completer=SuppressCompleter(), always_complete_options=False
    )
    raise AssertionError("unreachable: argcomplete ends the process")


def script(shell: str) -> str:
    """Return what a shell must load to ask this program."""
    from argcomplete.shell_integration import shellcode  # noqa: PLC0415 - only shells pay for it

    return shellcode(["fodc"], shell=shell, complete_arguments=["-o", "nospace"])


# ---- files ----------------------------------------------------------------------------------


def directories(*, prefix: str, **more: object) -> Iterable[str]:
    """Complete a folder of this machine."""
    from argcomplete.completers import DirectoriesCompleter  # noqa: PLC0415 - as above

    found: Iterable[str] = DirectoriesCompleter()(prefix=prefix, **more)
    return found


def files(*, prefix: str, **more: object) -> Iterable[str]:
    """Complete a file of this machine."""
    from argcomplete.completers import FilesCompleter  # noqa: PLC0415 - as above

    found: Iterable[str] = FilesCompleter()(prefix=prefix, **more)
    return found


# ---- names from the proxy -------------------------------------------------------------------


def nodes(*, prefix: str, parsed_args: argparse.Namespace, **_more: object) -> Iterable[str]:
    """Complete the name of a node."""
    return _in_list(prefix, (node.node_id for node in _fleet(parsed_args)))


def profiles(*, parsed_args: argparse.Namespace, **_more: object) -> Iterable[str]:
    """Complete a kind of profile, those included that only the nodes know."""
    from fodc_client.kinds import offered_by  # noqa: PLC0415 - only shells pay for it
    from fodc_protocol.profiles import Profile  # noqa: PLC0415 - only shells pay for it

    return [*Profile, *offered_by(_fleet(parsed_args))]


def tiers(*, prefix: str, parsed_args: argparse.Namespace, **_more: object) -> Iterable[str]:
    """Complete a tier that nodes have."""
    return _in_list(prefix, (node.tier or "" for node in _fleet(parsed_args)))


def roles(*, prefix: str, parsed_args: argparse.Namespace, **_more: object) -> Iterable[str]:
    """Complete a role, a tier or both that nodes have."""
    from fodc_protocol.roles import plain  # noqa: PLC0415 - only shells pay for it

    found = {plain(node.role, node.tier or "") for node in _fleet(parsed_args)}
    both = {f"{each.role}-{each.tier}" for each in found if each.tier}
    return _in_list(prefix, {each.role for each in found} | {each.tier for each in found} | both)


def requests(*, parsed_args: argparse.Namespace, **_more: object) -> Iterable[str]:
    """Complete the id of a request, the newest first."""
    from fodc_api.requests import Requests  # noqa: PLC0415 - only shells pay for it

    answer = _asked(parsed_args, "/diagnostics/requests", Requests)
    return [] if answer is None else [request.id for request in answer.requests]


def artifacts(*, parsed_args: argparse.Namespace, **_more: object) -> Iterable[str]:
    """Complete the id of an artifact, the newest first."""
    from fodc_api.artifacts import Artifacts  # noqa: PLC0415 - only shells pay for it

    answer = _asked(parsed_args, "/artifacts", Artifacts)
    return [] if answer is None else [artifact.artifact_id for artifact in answer.artifacts]


def incidents(*, parsed_args: argparse.Namespace, **_more: object) -> Iterable[str]:
    """Complete the id of an incident, the newest first."""
    from fodc_api.incidents import Incidents  # noqa: PLC0415 - only shells pay for it

    answer = _asked(parsed_args, "/incidents", Incidents)
    return [] if answer is None else [one.incident_id for one in answer.incidents]


def metrics(*, parsed_args: argparse.Namespace, **_more: object) -> Iterable[str]:
    """Complete the name of a metric that the node named before it has."""
    node = quote(str(getattr(parsed_args, "node", "") or ""), safe="")
    page = (_body(parsed_args, f"/metrics?pod_name={node}") or b"").decode("utf-8", "replace")
    samples = (line for line in page.splitlines() if line[:1] != "#")
    return sorted({line.partition("{")[0].partition(" ")[0] for line in samples if line})


def _in_list(prefix: str, words: Iterable[str]) -> Iterable[str]:
    """Return the words, each behind what stands before it in a list `a,b`."""
    before = prefix.rpartition(",")[0]
    return [f"{before},{word}" if before else word for word in sorted({*words} - {""})]


def _fleet(args: argparse.Namespace) -> "tuple[Node, ...]":
    from fodc_api.cluster import Cluster  # noqa: PLC0415 - only shells pay for it

    answer = _asked(args, "/cluster", Cluster)
    return () if answer is None else answer.nodes


def _asked(args: argparse.Namespace, path: str, kind: type[T]) -> T | None:
    import msgspec  # noqa: PLC0415 - only shells pay for it

    try:
        return msgspec.json.decode(_body(args, path) or b"", type=kind)
    except msgspec.MsgspecError:
        return None


def _body(args: argparse.Namespace, path: str) -> bytes | None:
    from fodc_client import plain_http  # noqa: PLC0415 - only shells pay for these
    from fodc_client.arguments import settings_of  # noqa: PLC0415 - only shells pay for it
    from fodc_client.errors import ClientError  # noqa: PLC0415 - only shells pay for it
    from fodc_client.ways import way_of  # noqa: PLC0415 - only shells pay for it

    try:
        return plain_http.get(way_of(settings_of(args, os.environ)), path, wait_s=_WAIT_S)
    except ClientError:
        return None
