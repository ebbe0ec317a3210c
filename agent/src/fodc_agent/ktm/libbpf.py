# SPDX-License-Identifier: Apache-2.0
"""Has a group loaded by libbpf, where the kernel does not take the loader program of a blob.

The one idea: another process does it and hands the descriptors over (SCM_RIGHTS), so the agent
holds what it would hold anyway, and neither libbpf nor libelf is ever mapped into it.
"""

import errno
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fodc_agent.ktm.skeleton import Descriptors

_MOST_DESCRIPTORS: Final = 64
_MOST_BYTES: Final = 64 * 1024
_DEADLINE_S: Final = 10.0
PROGRAM: Final = (sys.executable, "-m", "fodc_agent.ktm.libbpf_child")


def load_by_libbpf(path: Path, program: Sequence[str] = PROGRAM) -> Descriptors:
    """Return the descriptors of an object's maps and programs; raises OSError.

    Its number is the kernel's, ENOPKG where libbpf is missing, ETIMEDOUT after ten seconds.
    """
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            child = subprocess.Popen(  # noqa: S603 - our own program, a path of our own
                [*program, str(theirs.fileno()), str(path)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        try:
            return _received(ours)
        finally:
            child.kill()
            child.wait()


def _received(ours: socket.socket) -> Descriptors:
    ours.settimeout(_DEADLINE_S)
    try:
        text, descriptors, _, _ = socket.recv_fds(ours, _MOST_BYTES, _MOST_DESCRIPTORS)
    except TimeoutError:
        raise OSError(errno.ETIMEDOUT, "libbpf did not answer") from None
    try:
        told = json.loads(text)
        if "refused" in told:
            raise OSError(int(told["code"]), str(told["refused"]))
        names = [*told["maps"], *told["programs"]]
        by_name = dict(zip(names, descriptors, strict=True))
        maps = {name: by_name[name] for name in told["maps"]}
        return Descriptors(maps, {name: by_name[name] for name in told["programs"]})
    except (ValueError, KeyError, TypeError) as error:
        for descriptor in descriptors:
            os.close(descriptor)
        why = f"the process with libbpf ended without an answer: {error!r}"
        raise OSError(errno.EPROTO, why) from error
