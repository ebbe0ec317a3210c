# SPDX-License-Identifier: Apache-2.0
"""TLS on the HTTP port over real sockets: nothing in the clear, and certificates that change."""

import asyncio
import os
import socket
import ssl
import sys

import aiohttp
import pytest
import trustme

from fodc_protocol.errors import OptionError
from fodc_protocol.options import Address
from fodc_proxy.access.settings import AccessSettings
from fodc_proxy.hosting import Host
from fodc_proxy.http.handshakes import MOST
from fodc_proxy.runtime import Proxy
from fodc_proxy.settings import Settings, resolved, settings_of
from fodc_tls.parts import LEAF_CERTIFICATE, LEAF_KEY
from fodc_tls.serving import files_source

from ..live import running  # noqa: TID252 - one folder's tests

NAME = "proxy.example"
TOKEN = "the-token-of-a-viewer"


class Files:
    """An authority, and the proxy's certificate by it in files."""

    def __init__(self, folder):
        self.authority = trustme.CA()
        self.certificate, self.key = folder / "tls.crt", folder / "tls.key"
        self.tokens = folder / "tokens"
        self.tokens.write_text(f"vera viewer {TOKEN}\n")
        self.tokens.chmod(0o600)
        self.issue()

    def issue(self):
        made = self.authority.issue_cert(NAME)
        made.private_key_pem.write_to_path(str(self.key))
        self.certificate.write_bytes(b"".join(one.bytes() for one in made.cert_chain_pems))
        return ssl.PEM_cert_to_DER_cert(made.cert_chain_pems[0].bytes().decode())

    @property
    def access(self):
        return AccessSettings(
            str(self.tokens), certificate_file=str(self.certificate), key_file=str(self.key)
        )

    def trusting(self):
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context


def scene(tmp_path, play):
    async def run():
        files = Files(tmp_path)
        async with running(tmp_path, access=files.access) as proxy:
            return await play(proxy, files)

    return asyncio.run(run())


def asking(files):
    headers = {"Authorization": f"Bearer {TOKEN}", "Host": NAME}
    connector = aiohttp.TCPConnector(ssl=files.trusting())
    return aiohttp.ClientSession(headers=headers, connector=connector)


def test_who_trusts_the_authority_asks_by_tls_and_a_cookie_is_secure(tmp_path):
    async def play(proxy, files):
        base = f"https://{proxy.http_address}"
        async with asking(files) as session:
            told = {"server_hostname": NAME, "headers": {"Host": "localhost"}}
            async with session.get(f"{base}/cluster", **told) as answer:
                status = answer.status
            async with session.post(f"{base}/session", **told) as answer:
                return status, answer.headers["Set-Cookie"], proxy.telemetry.page().decode()

    status, cookie, page = scene(tmp_path, play)
    assert status == 200
    assert cookie.startswith("__Host-fodc-session=")
    assert cookie.endswith("; HttpOnly; SameSite=Strict; Secure")
    (line,) = (one for one in page.splitlines() if 'listener="http"' in one)
    assert float(line.rpartition(" ")[2]) > 1.7e9


def test_handshakes_that_nobody_goes_on_with_are_bounded_and_cost_others_nothing(tmp_path):
    """Each costs a quarter of a megabyte; the one that takes longest makes room."""

    async def play(proxy, files):
        host, _, port = proxy.http_address.rpartition(":")
        silent = [await asyncio.open_connection(host, int(port)) for _ in range(MOST + 40)]
        try:
            first = await asyncio.wait_for(silent[0][0].read(), 5)
            begun = len(proxy._web._handshakes)
            async with asking(files) as session:
                told = {"server_hostname": NAME, "headers": {"Host": "localhost"}}
                async with session.get(f"https://{proxy.http_address}/healthz", **told) as answer:
                    return first, begun, answer.status
        finally:
            for _, writer in silent:
                writer.close()

    first, begun, status = scene(tmp_path, play)
    assert (first, status) == (b"", 200)
    assert begun <= MOST


def test_the_host_may_bring_the_certificate_of_its_other_listeners(tmp_path):
    files = Files(tmp_path)
    kept = {LEAF_CERTIFICATE: files.certificate, LEAF_KEY: files.key}
    host = Host(http_certificate=files_source(kept, "the leader's"))

    async def run():
        access = AccessSettings(str(files.tokens))
        async with running(tmp_path, access=access, host=host) as proxy:
            async with asking(files) as session:
                url = f"https://{proxy.http_address}/cluster"
                told = {"server_hostname": NAME, "headers": {"Host": "localhost"}}
                async with session.get(url, **told) as answer:
                    status = answer.status
            return status, "http" in proxy.telemetry.page().decode()

    assert asyncio.run(run()) == (200, True)


def test_who_speaks_in_the_clear_or_trusts_others_gets_nothing(tmp_path):
    async def play(proxy, files):
        host, _, port = proxy.http_address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /cluster HTTP/1.1\r\nHost: localhost\r\n\r\n")
        said = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await session.get(f"https://{proxy.http_address}/healthz")
        return said

    assert b"HTTP/" not in scene(tmp_path, play)


def test_a_new_certificate_is_shown_to_new_connections_and_ends_no_old_one(tmp_path):
    async def play(proxy, files):
        host, _, port = proxy.http_address.rpartition(":")

        async def shown():
            reader, writer = await asyncio.open_connection(
                host, int(port), ssl=files.trusting(), server_hostname=NAME
            )
            found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            return found, reader, writer

        first, reader, writer = await shown()
        new = files.issue()
        await proxy.http_certificate.refresh()
        second, _, other = await shown()
        other.close()
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        said = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        return first, second, new, said

    first, second, new, said = scene(tmp_path, play)
    assert first != second == new
    assert said.startswith(b"HTTP/1.1 200 ")


def test_a_handshake_that_never_comes_is_ended(tmp_path):
    async def run():
        files = Files(tmp_path)
        async with running(tmp_path, access=files.access, http_read_timeout_s=0.3) as proxy:
            host, _, port = proxy.http_address.rpartition(":")
            with socket.create_connection((host, int(port)), 10) as silent:
                return await asyncio.to_thread(silent.recv, 1)

    assert asyncio.run(run()) == b""


def test_a_certificate_that_cannot_be_used_is_told_by_readiness(tmp_path):
    async def run():
        files = Files(tmp_path)
        files.certificate.write_text("no certificate")
        async with running(tmp_path, access=files.access) as proxy:
            return next(one for one in proxy.ready_checks() if one.name == "callers")

    check = asyncio.run(run())
    assert (check.ok, check.message) == (False, "tls.crt holds no certificate")


def test_tokens_in_the_clear_are_told_where_others_could_read_them(tmp_path):
    async def run():
        settings = Settings(Address("127.0.0.1", 0), Address("", 0), data_dir=str(tmp_path))
        return [one.message for one in Proxy(settings).ready_checks()]

    assert any("WITHOUT TLS: tokens come in the clear" in one for one in asyncio.run(run()))


def test_certificate_and_key_need_each_other():
    with pytest.raises(OptionError, match="need each other"):
        settings_of(resolved(["--http-tls-cert-file=a"], {}))
    found = settings_of(resolved(["--http-tls-cert-file=a", "--http-tls-key-file=b"], {}))
    assert (found.access.certificate_file, found.access.key_file) == ("a", "b")


def test_the_command_asks_by_tls_with_an_authority_of_its_own(tmp_path):
    """As a process, since the command has a loop of its own."""

    async def play(proxy, files):
        made = files.authority.issue_cert("localhost")
        made.private_key_pem.write_to_path(str(files.key))
        files.certificate.write_bytes(made.cert_chain_pems[0].bytes())
        await proxy.http_certificate.refresh()
        (tmp_path / "ca.crt").write_bytes(files.authority.cert_pem.bytes())
        port = proxy.http_address.rpartition(":")[2]
        told = ["--proxy", f"https://localhost:{port}"]
        trusting = [*told, "--ca-file", str(tmp_path / "ca.crt")]
        return [await asked(["nodes", *one]) for one in (trusting, told)]

    (good, _), (bad, said) = scene(tmp_path, play)
    assert good == 0
    assert bad == 3
    assert "cannot reach the proxy" in said


async def asked(argv):
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fodc_client", *argv),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "FODC_TOKEN": TOKEN},
    )
    _, said = await child.communicate()
    return child.returncode, said.decode()
