# SPDX-License-Identifier: Apache-2.0
"""Who listens to the link besides the service itself."""

import logging

from fodc_protocol.link import frames
from fodc_proxy.wire.ports import HeardFrame, LinkListener

_log = logging.getLogger(__name__)


class Listeners:
    """Passes what the link service tells to everyone who listens; one failure costs no other."""

    def __init__(self) -> None:
        self._listeners: list[LinkListener] = []

    def add(self, listener: LinkListener) -> None:
        """Tell this one too."""
        self._listeners.append(listener)

    def linked(self, address: str, hello: frames.Hello) -> None:
        """Pass on."""
        for listener in self._listeners:
            try:
                listener.linked(address, hello)
            except Exception:  # noqa: BLE001 - logged; the stream must go on
                _log.exception("a listener failed on the link of %s", address)

    def unlinked(self, address: str) -> None:
        """Pass on."""
        for listener in self._listeners:
            try:
                listener.unlinked(address)
            except Exception:  # noqa: BLE001 - as above
                _log.exception("a listener failed on the end of the link of %s", address)

    def heard(self, address: str, frame: HeardFrame) -> None:
        """Pass on."""
        for listener in self._listeners:
            try:
                listener.heard(address, frame)
            except Exception:  # noqa: BLE001 - as above
                _log.exception("a listener failed on %s of %s", type(frame).__name__, address)
