# SPDX-License-Identifier: Apache-2.0
"""TLS on the gRPC port over real sockets: what is shown, to whom, and that it changes in place."""

import asyncio
import ssl
import time
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
import trustme

from fodc_protocol.errors import OptionError
from fodc_protocol.options import Address
from fodc_proxy import settings
from fodc_proxy.access.settings import AccessSettings
from fodc_proxy.hosting import Host
from fodc_proxy.settings import AgentAccess

from ..live import GoAgent, LinkAgent, fetch, running, until  # noqa: TID252 - one folder's tests
from .test_who_may_come_in import Reviewer

EVERYWHERE = Address("", 0)
NAME = "proxy.example"
EXPIRY = 'fodc_proxy_certificate_expiry_seconds{listener="grpc"} '


class Files:
    """An authority, and the proxy's certificate by it in files."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.certificate, self.key = folder / "tls.crt", folder / "tls.key"
        self.ca = folder / "ca.crt"
        self.authority.cert_pem.write_to_path(str(self.ca))
        self.issue()

    def issue(self) -> bytes:
        made = self.authority.issue_cert(NAME)
        made.private_key_pem.write_to_path(str(self.key))
        self.certificate.write_bytes(b"".join(one.bytes() for one in made.cert_chain_pems))
        return made.cert_chain_pems[0].bytes()

    @property
    def access(self) -> AgentAccess:
        files = (str(self.certificate), str(self.key), str(self.ca))
        return AgentAccess("", "auto", False, *files)

    def trusting(self, *names: str) -> grpc.ChannelCredentials:
        root = self.authority.cert_pem.bytes()
        if not names:
            return grpc.ssl_channel_credentials(root)
        own = self.authority.issue_cert(*names)
        chain = own.cert_chain_pems[0].bytes()
        return grpc.ssl_channel_credentials(root, own.private_key_pem.bytes(), chain)


def scene(folder: Path, play, **told):
    files = told.pop("files", None) or Files(folder)

    async def run():
        access = AccessSettings(is_insecure=True)  # people are another matter
        more = {"grpc_listen": EVERYWHERE, "agents": files.access, "access": access, **told}
        async with running(folder, host=Host(token_reviewer=Reviewer()), **more) as proxy:
            return await play(proxy, files)

    return asyncio.run(run())


def shown(port: int) -> bytes:
    return ssl.get_server_certificate(("127.0.0.1", port)).encode()


def test_a_token_that_nobody_could_read_is_taken(tmp_path: Path) -> None:
    async def play(proxy, files):
        told = {"pod_uid": "u-0", "token": "t-data-0", "tls": files.trusting()}
        async with LinkAgent(proxy, "data-0", **told) as agent:
            return agent.welcome.WhichOneof("frame"), proxy.registry.find("data-0").authority.proof

    assert scene(tmp_path, play) == ("welcome", "PodToken")


def test_a_certificate_of_the_agent_speaks_for_its_names_and_none_is_no_token(
    tmp_path: Path,
) -> None:
    async def play(proxy, files):
        async with (
            LinkAgent(proxy, "vm-0", namespace="", tls=files.trusting("vm-0")) as own,
            LinkAgent(proxy, "vm-1", namespace="", tls=files.trusting("vm-0")) as other,
            LinkAgent(proxy, "data-0", tls=files.trusting("data-0.banyandb")) as pod,
            LinkAgent(proxy, "vm-2", namespace="", tls=files.trusting()) as nobody,
        ):
            proofs = [proxy.registry.find(one).authority.principal for one in ("vm-0", "data-0")]
            refusals = [one.welcome.refusal.message for one in (other, nobody)]
            welcomes = [one.welcome.WhichOneof("frame") for one in (own, pod)]
            return welcomes, proofs, refusals

    welcomes, proofs, refusals = scene(tmp_path, play)

    assert welcomes == ["welcome"] * 2
    assert proofs == ["certificate vm-0", "certificate data-0.banyandb"]
    assert refusals[0] == "certificate vm-0 may not speak for vm-1"
    assert refusals[1].startswith("no token and no client certificate was shown")


def test_a_certificate_of_another_authority_is_no_certificate(tmp_path: Path) -> None:
    async def play(proxy, files):
        stranger = trustme.CA().issue_cert("vm-0")
        tls = grpc.ssl_channel_credentials(
            files.authority.cert_pem.bytes(),
            stranger.private_key_pem.bytes(),
            stranger.cert_chain_pems[0].bytes(),
        )
        agent = LinkAgent(proxy, "vm-0", namespace="", tls=tls)
        with pytest.raises((grpc.aio.AioRpcError, asyncio.InvalidStateError)):
            await agent.start()
        await agent.close()
        return proxy.registry.members()

    assert scene(tmp_path, play) == ()


def test_a_new_certificate_is_shown_and_no_stream_is_dropped(tmp_path: Path) -> None:
    async def play(proxy, files):
        port = int(proxy.grpc_address.rpartition(":")[2])
        told = {"pod_uid": "u-0", "token": "t-data-0", "tls": files.trusting()}
        async with LinkAgent(proxy, "data-0", **told) as agent:
            before = await asyncio.to_thread(shown, port)
            wanted = files.issue()
            await proxy.certificate.refresh()
            after = await asyncio.to_thread(shown, port)
            page = (await fetch(proxy, "/metrics")).text
            member = proxy.registry.find("data-0")
            is_same = proxy.link.is_linked("banyandb/data-0") and member.agent_id == agent.agent_id
            return before != after, after == wanted, is_same, page

    is_new, is_wanted, is_same, page = scene(tmp_path, play)

    assert (is_new, is_wanted, is_same) == (True, True, True)
    [line] = [one for one in page.splitlines() if one.startswith(EXPIRY)]
    assert float(line.removeprefix(EXPIRY)) > time.time()


def test_whoever_speaks_plain_text_with_a_port_that_has_tls_gets_no_answer(tmp_path: Path) -> None:
    async def play(proxy, _):
        agent = LinkAgent(proxy, "data-0")
        stream = agent.call("/fodc.v1.AgentLink/Connect")
        code = await stream.code()
        await agent.close()
        return code

    assert scene(tmp_path, play) is grpc.StatusCode.UNAVAILABLE


def test_agents_that_know_no_tls_come_in_beside_those_that_do_where_that_is_allowed_by_name(
    tmp_path: Path,
) -> None:
    async def play(proxy, files):
        told = {"pod_uid": "u-0", "token": "t-data-0", "tls": files.trusting()}
        async with (
            LinkAgent(proxy, "data-0", **told) as sealed,
            GoAgent(proxy, "old-0") as legacy,
            GoAgent(proxy, "data-0") as thief,
            LinkAgent(proxy, "data-1", pod_uid="u-1", token="t-data-1") as plain,
        ):
            proofs = {m.pod_name: str(m.authority.proof) for m in proxy.registry.members()}
            welcome = sealed.welcome.WhichOneof("frame")
            refusals = (thief.reply.message, plain.welcome.refusal.message)
            return welcome, legacy.reply.success, proofs, refusals

    files = Files(tmp_path)
    access = replace(files.access, legacy="allow")
    welcome, is_legacy_in, proofs, refusals = scene(tmp_path, play, agents=access, files=files)

    assert (welcome, is_legacy_in) == ("welcome", True)
    assert proofs == {"data-0": "PodToken", "old-0": "None"}
    assert refusals[0].startswith("pod data-0 is served by an agent that has shown a token")
    assert refusals[1].startswith("a token came without TLS")


def test_who_connects_and_says_nothing_is_forgotten_when_it_goes(tmp_path: Path) -> None:
    async def play(proxy, _):
        host, _, port = proxy.grpc_address.rpartition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        shared = proxy._grpc._shared
        await until(lambda: len(shared.lines) == 1)
        writer.close()
        await until(lambda: not shared.lines)

    files = Files(tmp_path)
    scene(tmp_path, play, agents=replace(files.access, legacy="allow"), files=files)


def test_a_certificate_that_cannot_be_read_is_told_by_readiness_and_mended_in_place(
    tmp_path: Path,
) -> None:
    async def play(proxy, files):
        proxy._tls.cancel()  # it reads in a thread, maybe at this moment
        await asyncio.gather(proxy._tls, return_exceptions=True)
        files.certificate.rename(tmp_path / "away")
        proxy.certificate._shown = None
        await proxy.certificate.refresh()
        broken = (await fetch(proxy, "/readyz")).text
        (tmp_path / "away").rename(files.certificate)
        await proxy.certificate.refresh()
        return broken, (await fetch(proxy, "/readyz")).text

    broken, mended = scene(tmp_path, play)

    assert "NO AGENT CAN COME IN: --grpc-tls-*-file: " in broken
    assert "NO AGENT" not in mended


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--grpc-tls-cert-file=a"], "must be given together"),
        (["--grpc-tls-key-file=a"], "must be given together"),
        (["--grpc-client-ca-file=a"], "needs grpc-tls-cert-file and grpc-tls-key-file"),
    ],
)
def test_files_that_need_each_other_are_asked_for(flags: list[str], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        settings.settings_of(settings.resolved(flags, {}))
