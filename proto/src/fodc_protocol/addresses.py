# SPDX-License-Identifier: Apache-2.0
"""Host and port as people write them: the one parser of agent, proxy, client and operator.

The one idea: what cannot be an address is refused where it is read, with the form that is meant,
and not taken for the name of a host that nobody will ever find.
"""

import ipaddress
import re
from typing import Final

from fodc_protocol.lean import dataclass

_NAME: Final = re.compile(r"[\w-]{1,63}(?:\.[\w-]{1,63}){0,31}\.?", re.ASCII)
_IPV6: Final = re.compile(r"(?=[^:]*:[^:]*:)[0-9A-Fa-f:.]{2,45}(?:%[\w.-]{1,32})?", re.ASCII)
_PORT: Final = re.compile(r"[0-9]{1,5}")
_LONGEST: Final = 300
# gRPC's own way to say "ask the resolver", which Go programs take and so their users write.
_RESOLVER: Final = "dns:///"


class AddressError(ValueError):
    """A text is no address; the message goes on behind the name of a flag or field."""

    def __init__(self, wanted: str, got: str) -> None:
        """Say what is wanted, "must be …", and what came instead."""
        super().__init__(f"{wanted}, got {got}")
        self.wanted: Final = wanted


@dataclass(frozen=True, slots=True)
class Address:
    """Host and port; an empty host means all interfaces when listening."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only programs of this machine reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_listen_address(text: str) -> Address:
    """Parse ":9090", "host:9090" or "[::1]:9090" (port 0 takes a free one).

    Raises AddressError.
    """
    wanted = "an address such as :9090, localhost:9090 or [::1]:9090"
    return _parsed(text.strip(), wanted, text)


def parse_endpoint(text: str) -> Address:
    """Parse where to connect to: "host:17912", "[::1]:17912" or "dns:///host:17912".

    Raises AddressError, which tells what to write instead of a URL.
    """
    wanted = "host:port, such as fodc-proxy:17912 or [::1]:17912"
    bare = text.strip().removeprefix(_RESOLVER)
    if "://" in bare:
        raise AddressError(f"must be {wanted}", f"the URL {_shown(text)}{_instead(bare)}")
    address = _parsed(bare, wanted, text)
    if not address.host or not address.port:
        missing = "no host" if not address.host else "port 0"
        raise AddressError(f"must be {wanted}", f"{missing} in {_shown(text)}")
    return address


def _parsed(text: str, wanted: str, given: str) -> Address:
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    fits = _IPV6.fullmatch(bare) if bracketed else not bare or _NAME.fullmatch(bare)
    if not colon or not fits or len(text) > _LONGEST or not _is_port(port):
        hint = "; write IPv6 in brackets" if not bracketed and _IPV6.fullmatch(host) else ""
        raise AddressError(f"must be {wanted}", _shown(given) + hint)
    return Address(bare, int(port))


def _is_port(text: str) -> bool:
    return _PORT.fullmatch(text) is not None and int(text) <= 65_535


def _instead(url: str) -> str:
    """Return advice for a URL that holds an address; credentials in it are not repeated."""
    authority = re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0].rpartition("@")[2]
    try:
        return f"; write {_parsed(authority, '', '')}"
    except AddressError:
        return ""


def _shown(text: str) -> str:
    from fodc_protocol.redaction import redact_foreign  # noqa: PLC0415 - only for an error

    return repr(redact_foreign(text, 80))
