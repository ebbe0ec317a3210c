# SPDX-License-Identifier: Apache-2.0
"""What the gRPC edge offers and whom it calls, as protocols without gRPC.

The one idea: core and edges meet here, so that neither imports the other; `runtime` joins them.
"""

from typing import Protocol, TypeAlias

from fodc_protocol.link import frames

HeardFrame: TypeAlias = frames.CommandUpdate | frames.ArtifactChunk


class LinkListener(Protocol):
    """Is told of links and of frames that belong to commands."""

    def linked(self, address: str, hello: frames.Hello) -> None:
        """A link stands: Welcome is on its way and frames may be sent."""

    def unlinked(self, address: str) -> None:
        """The link of this pod is gone and no other has replaced it."""

    def heard(self, address: str, frame: HeardFrame) -> None:
        """The agent sent a frame of a command."""
