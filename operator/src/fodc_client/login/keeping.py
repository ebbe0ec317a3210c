# SPDX-License-Identifier: Apache-2.0
"""What is kept of logins: one file per issuer, readable by its owner alone.

The one idea: a token goes to the proxies that it was fetched for and to nobody else, so the file
names them; a file that others can read is refused like a key of ssh.
"""

import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from fodc_client.errors import BadUsageError, ClientError

_LONGEST_FILE: Final = 128 * 1024
_OTHERS: Final = 0o077


class Login(NamedTuple):
    """One issuer's login; `ends_s` is Unix time, 0 when the issuer did not tell."""

    issuer: str
    client_id: str
    token_endpoint: str
    token: str
    refresh_token: str = ""
    ends_s: float = 0.0
    revocation_endpoint: str = ""
    ca_file: str = ""
    proxies: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Login({self.issuer!r}, {self.client_id!r}, …)"


def folder(environment: Mapping[str, str]) -> Path:
    """Return where logins are kept."""
    base = environment.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "fodc" / "logins"


def path_of(place: Path, issuer: str) -> Path:
    """Return the file of an issuer."""
    return place / f"{hashlib.sha256(issuer.encode()).hexdigest()[:24]}.json"


def kept(place: Path) -> Iterator[Login]:
    """Read all logins; raises BadUsageError for one that others can read or nobody can."""
    for path in sorted(place.glob("*.json")) if place.is_dir() else ():
        yield _read(path)


def of_proxy(place: Path, proxy_url: str) -> Login | None:
    """Return the login that is meant for a proxy, None when there is none."""
    return next((one for one in kept(place) if proxy_url in one.proxies), None)


def write(place: Path, login: Login) -> None:
    """Keep a login, whole or not at all; other logins of its proxies are theirs no more."""
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        for other in tuple(kept(place)):
            left = tuple(one for one in other.proxies if one not in login.proxies)
            if other.issuer != login.issuer and left != other.proxies:
                _put(place, other._replace(proxies=left))
        _put(place, login)
    except OSError as error:
        raise ClientError(f"cannot keep the login in {place}: {_why(error)}") from None


def remove(place: Path, login: Login) -> None:
    """Forget a login."""
    with suppress(FileNotFoundError):
        path_of(place, login.issuer).unlink()


@contextmanager
def alone(place: Path) -> Iterator[None]:
    """Hold the folder for oneself: a refresh token is good for one use at many issuers."""
    handle = os.open(place / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _put(place: Path, login: Login) -> None:
    path = path_of(place, login.issuer)
    fresh = path.with_suffix(f".{os.getpid()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with suppress(FileNotFoundError):
        fresh.unlink()
    with os.fdopen(os.open(fresh, flags, 0o600), "w", encoding="utf-8") as file:
        json.dump(login._asdict(), file)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _read(path: Path) -> Login:
    try:
        with path.open("rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & _OTHERS:
                raise BadUsageError(f"others can read the login in {path}: chmod 600 {path}")
            data = file.read(_LONGEST_FILE + 1)
    except OSError as error:
        raise BadUsageError(f"cannot read the login in {path}: {_why(error)}") from None
    try:
        told = json.loads(data)
        found = Login(**{**told, "proxies": tuple(map(str, told["proxies"]))})
    except (ValueError, TypeError, KeyError, RecursionError):
        raise BadUsageError(f"{path} is no login: remove it, and `fodc login` again") from None
    if not all(isinstance(one, str) for one in (*found[:5], *found[6:8])):
        raise BadUsageError(f"{path} is no login: remove it, and `fodc login` again")
    return found


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
