# SPDX-License-Identifier: Apache-2.0
"""TLS to the proxy: trusted, not trusted, and with a certificate of the agent's own."""

import asyncio
import logging

import grpc
import pytest
import trustme

from fodc_agent.node_uplink import cut_hint, dial_with, token_warning
from fodc_agent.rpc.dialing import Endpoint
from fodc_agent.settings import load
from fodc_agent.uplink.caller import Caller, Contract, LinePhase
from fodc_agent.uplink.pace import Pace
from fodc_protocol.link.effects import Hangup
from fodc_wire.banyandb.fodc.v1 import rpc_pb2 as pb

ACCEPTED = pb.RegisterAgentResponse(success=True, agent_id="id-1").SerializeToString()


class Registering:
    """Sends one registration and stays until it is stopped; the least that needs a whole line."""

    def __init__(self, on_registered):
        self._on_registered = on_registered

    async def run(self, channel, stop):
        async with channel.open("/banyandb.fodc.v1.FODCService/RegisterAgent") as stream:
            await stream.send(b"")
            if await stream.receive() is None:
                return Hangup("ProxyEnded", "no reply")
            self._on_registered()
            await stop.wait()
        return Hangup("Stopped", "bye")


class Line:
    """A caller with the flags of `--proxy-tls-*`; tries again at once."""

    def __init__(self, port, *flags):
        self.changed = asyncio.Event()
        settings = load([f"--proxy-addr=localhost:{port}", *flags], {})
        assert settings.proxy_tls is not None
        self.caller = Caller(
            endpoints=tuple(Endpoint(*one) for one in settings.proxy_endpoints),
            contract=Contract.FODC,
            link=None,
            make_existing=lambda: Registering(self._registered),
            dial=dial_with(settings.proxy_tls, settings.proxy_token_file),
            cut_hint=cut_hint(settings.proxy_tls),
            pace=Pace(base_s=0.02),
            on_change=lambda _: self.changed.set(),
        )

    def _registered(self):
        self.caller.connected(LinePhase.REGISTERED, "id-1")

    async def until(self, condition):
        task = asyncio.create_task(self.caller.run())
        async with asyncio.timeout(10):
            while not condition(self.caller.status):
                self.changed.clear()
                await self.changed.wait()
        status = self.caller.status
        self.caller.stop.set()
        await asyncio.wait_for(task, 5)
        await asyncio.sleep(0.05)  # transports of TLS close in a later turn of the loop
        return status


class Authorities:
    """The CA of the proxy, one of a stranger, and a certificate for the agent; as files."""

    def __init__(self, folder):
        self.folder = folder
        self.authority = trustme.CA()
        self.ca = self._written("ca.pem", self.authority.cert_pem)
        self.wrong_ca = self._written("wrong.pem", trustme.CA().cert_pem)
        own = self.authority.issue_cert("agent.example")
        self.cert = self._written("cert.pem", own.cert_chain_pems[0])
        self.key = self._written("key.pem", own.private_key_pem)

    def _written(self, name, blob):
        path = self.folder / name
        blob.write_to_path(str(path))
        return path

    def server(self, host="localhost", *, wants_client=False):
        issued = self.authority.issue_cert(host)
        pair = (issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes())
        root = self.authority.cert_pem.bytes() if wants_client else None
        return grpc.ssl_server_credentials([pair], root, wants_client)


@pytest.fixture
def files(tmp_path):
    return Authorities(tmp_path)


def outcome(run_async, bytes_proxy, credentials, condition, *flags):
    found = []

    async def scenario():
        proxy = bytes_proxy(reply=ACCEPTED, credentials=credentials)
        await proxy.start()
        try:
            found.append(await Line(proxy.port, *flags).until(condition))
        finally:
            await proxy.stop()

    run_async(scenario)
    return found[0]


def is_up(status):
    return status.up


def failed_twice(status):
    return status.failures >= 2


def test_a_proxy_with_a_certificate_of_the_given_ca_is_trusted(run_async, bytes_proxy, files):
    flag = f"--proxy-tls-ca={files.ca}"
    assert outcome(run_async, bytes_proxy, files.server(), is_up, flag).agent_id == "id-1"


def test_a_proxy_of_another_ca_is_named_and_tried_again(run_async, bytes_proxy, files, caplog):
    caplog.set_level(logging.DEBUG, "fodc_agent")
    flag = f"--proxy-tls-ca={files.wrong_ca}"
    status = outcome(run_async, bytes_proxy, files.server(), failed_twice, flag)
    assert status.problem.startswith("NotTrusted: localhost:")
    assert "certificate verify failed" in status.problem
    assert "--proxy-tls-ca" in status.problem
    told = [one.message for one in caplog.records if one.levelno == logging.INFO]
    assert len([text for text in told if "reason=NotTrusted" in text]) == 1  # then at debug


def test_a_certificate_for_another_name_is_named_and_the_name_can_be_given(
    run_async, bytes_proxy, files
):
    flags = [f"--proxy-tls-ca={files.ca}"]
    server = files.server("proxy.example")
    status = outcome(run_async, bytes_proxy, server, failed_twice, *flags)
    assert status.problem.startswith("NotTrusted: ")
    assert "Hostname mismatch" in status.problem
    assert "--proxy-tls-server-name" in status.problem
    flags.append("--proxy-tls-server-name=proxy.example")
    assert outcome(run_async, bytes_proxy, server, is_up, *flags).up


def test_a_proxy_without_tls_is_named(run_async, bytes_proxy, files):
    flag = f"--proxy-tls-ca={files.ca}"
    status = outcome(run_async, bytes_proxy, None, failed_twice, flag)
    assert status.problem.startswith("NotTrusted: localhost:")
    assert "without TLS" in status.problem


def test_a_proxy_that_wants_a_certificate_gets_the_agents_own(run_async, bytes_proxy, files):
    flags = (
        f"--proxy-tls-ca={files.ca}",
        f"--proxy-tls-cert={files.cert}",
        f"--proxy-tls-key={files.key}",
    )
    assert outcome(run_async, bytes_proxy, files.server(wants_client=True), is_up, *flags).up


def test_an_agent_without_the_wanted_certificate_is_told_what_may_be_missing(
    run_async, bytes_proxy, files
):
    """With TLS 1.3 the refusal comes after the handshake, as the loss of a young line."""
    flag = f"--proxy-tls-ca={files.ca}"
    server = files.server(wants_client=True)
    status = outcome(run_async, bytes_proxy, server, failed_twice, flag)
    assert status.up is False
    assert "--proxy-tls-cert" in status.problem


def test_files_that_are_not_there_are_named_and_looked_for_again(run_async, bytes_proxy, files):
    missing = files.folder / "later.pem"
    found = []

    async def scenario():
        proxy = bytes_proxy(reply=ACCEPTED, credentials=files.server())
        await proxy.start()
        line = Line(proxy.port, f"--proxy-tls-ca={missing}")

        def condition(status):
            if status.failures == 1 and not missing.exists():
                found.append(status.problem)
                missing.write_bytes(files.ca.read_bytes())
            return status.up

        try:
            await line.until(condition)
        finally:
            await proxy.stop()

    run_async(scenario)
    assert found[0].startswith("Unreachable: TLS files of --proxy-tls-*: No such file")


# ---- the bearer token -------------------------------------------------------------------------


def authorizations(run_async, bytes_proxy, files, *flags, between=None):
    """Return what the proxy heard as `authorization` on two connections, one after the other."""
    heard = []

    async def scenario():
        proxy = bytes_proxy(reply=ACCEPTED, credentials=files.server())
        await proxy.start()
        try:
            for change in (None, between):
                if change is not None:
                    change()
                await Line(proxy.port, f"--proxy-tls-ca={files.ca}", *flags).until(is_up)
                [(_, metadata)] = await proxy.streams(1)
                heard.append(dict(metadata).get("authorization"))
        finally:
            await proxy.stop()

    run_async(scenario)
    return heard


def test_the_token_goes_along_and_is_read_anew_for_each_connection(run_async, bytes_proxy, files):
    """The kubelet rotates a projected token by replacing the file."""
    token = files.folder / "token"
    token.write_text("eyJ.first\n")
    heard = authorizations(
        run_async,
        bytes_proxy,
        files,
        f"--proxy-token-file={token}",
        between=lambda: token.write_text("eyJ.second"),
    )
    assert heard == ["Bearer eyJ.first", "Bearer eyJ.second"]


def test_a_stream_that_is_opened_later_on_a_connection_has_the_token_of_that_time(
    run_async, bytes_proxy, files
):
    """The six data streams are opened again after hours, when the first token has ended."""
    token = files.folder / "token"
    settings = load([f"--proxy-tls-ca={files.ca}", f"--proxy-token-file={token}"], {})
    heard = []

    async def scenario():
        proxy = bytes_proxy(reply=ACCEPTED, credentials=files.server())
        await proxy.start()
        token.write_text("eyJ.first")
        dial = dial_with(settings.proxy_tls, settings.proxy_token_file)
        channel = await dial(Endpoint("localhost", proxy.port))
        try:
            for text in ("eyJ.first", "eyJ.second"):
                token.write_text(text)
                async with channel.open("/banyandb.fodc.v1.FODCService/RegisterAgent") as stream:
                    await stream.send(b"")
                    await stream.receive()
                [(_, metadata)] = await proxy.streams(1)
                heard.append(dict(metadata)["authorization"])
        finally:
            channel.close()
            await asyncio.sleep(0.05)  # transports of TLS close in a later turn of the loop
            await proxy.stop()

    run_async(scenario)
    assert heard == ["Bearer eyJ.first", "Bearer eyJ.second"]


def test_without_a_token_file_nothing_is_claimed(run_async, bytes_proxy, files):
    assert authorizations(run_async, bytes_proxy, files) == [None, None]


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "No such file"), ("", "holds no single token"), ("two secret-words", "no single token"),
     ("x" * 40_000, "no single token"), ("caf\u00e9", "no single token")],
)  # fmt: skip
def test_a_token_that_cannot_be_sent_is_a_problem_that_names_the_file_and_no_content(
    run_async, bytes_proxy, files, content, problem
):
    token = files.folder / "token"
    if content is not None:
        token.write_text(content)
    flags = (f"--proxy-tls-ca={files.ca}", f"--proxy-token-file={token}")
    status = outcome(run_async, bytes_proxy, files.server(), failed_twice, *flags)
    assert status.problem.startswith(f"Unreachable: --proxy-token-file {token}: ")
    assert problem in status.problem
    assert "secret-words" not in status.problem


def test_without_tls_the_token_stays_at_home_and_that_is_said(run_async, bytes_proxy, files):
    token = files.folder / "token"
    token.write_text("eyJ.first")
    settings = load([f"--proxy-token-file={token}"], {})
    assert settings.proxy_tls is None
    assert token_warning(settings).startswith("--proxy-token-file is sent with TLS only")
    assert token_warning(load([f"--proxy-token-file={token}", "--proxy-tls"], {})) == ""
    assert token_warning(load([], {})) == ""
    heard = []

    async def scenario():
        proxy = bytes_proxy(reply=ACCEPTED)
        await proxy.start()
        dial = dial_with(settings.proxy_tls, settings.proxy_token_file)
        channel = await dial(Endpoint("127.0.0.1", proxy.port))
        try:
            async with channel.open("/banyandb.fodc.v1.FODCService/RegisterAgent") as stream:
                await stream.send(b"")
                await stream.receive()
            heard.extend(await proxy.streams(1))
        finally:
            channel.close()
            await proxy.stop()

    run_async(scenario)
    assert "authorization" not in dict(heard[0][1])
