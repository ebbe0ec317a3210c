# SPDX-License-Identifier: Apache-2.0
"""The gRPC server over TLS: certificates of both sides, what is refused, and who does not begin."""

import asyncio
import contextlib
import ssl

import grpc
import pytest
import trustme

from fodc_proxy.wire import server as serving
from fodc_proxy.wire.rpc import sealed
from fodc_proxy.wire.server import GrpcServer

from ..live import until  # noqa: TID252 - one folder's tests

MIB = 1024 * 1024
CA = trustme.CA()
OTHER_CA = trustme.CA()
OURS = CA.issue_cert("localhost")


def context_of(cert: trustme.LeafCert = OURS, *, asks: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    cert.configure_cert(context)
    if asks:
        CA.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def scene(play, tls: ssl.SSLContext):
    seen = []

    async def echo(_requests, context):
        seen.append(context)
        while (message := await context.read()) is not None:
            await context.write(message)

    async def run():
        server = GrpcServer({"/t.T/echo": echo}, max_message_bytes=24 * MIB, tls=tls)
        await server.start("localhost", 0)
        try:
            async with asyncio.timeout(30):
                return await play(server, seen)
        finally:
            await server.stop()

    return asyncio.run(run())


@contextlib.asynccontextmanager
async def calling(server, cert: trustme.LeafCert | None = None):
    key = None if cert is None else cert.private_key_pem.bytes()
    chain = None if cert is None else cert.cert_chain_pems[0].bytes()
    credentials = grpc.ssl_channel_credentials(CA.cert_pem.bytes(), key, chain)
    port = server.address.rpartition(":")[2]
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
    async with grpc.aio.secure_channel(f"localhost:{port}", credentials, options) as channel:
        yield channel.stream_stream("/t.T/echo")()


async def raw(server) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = server.address.rpartition(":")
    return await asyncio.open_connection(host.strip("[]"), int(port))


def test_messages_of_any_size_go_both_ways_over_tls():
    async def play(server, seen):
        async with calling(server) as stream:
            sizes = []
            for size in (0, 1, 16_384, 100_000, 20 * MIB):
                await stream.write(bytes(size))
                sizes.append(len(await stream.read()))
            await stream.done_writing()
            return sizes, await stream.code(), seen[0].is_tls, seen[0].certificate_names

    sizes, code, is_tls, names = scene(play, context_of())

    assert sizes == [0, 1, 16_384, 100_000, 20 * MIB]
    assert code is grpc.StatusCode.OK
    assert (is_tls, names) == (True, ())


def test_handlers_are_told_the_names_of_a_certificate_that_was_verified():
    agent = CA.issue_cert("agent-0.banyandb", "spiffe.example.org")

    async def play(server, seen):
        async with calling(server, agent) as stream:
            await stream.write(b"x")
            await stream.read()
            return seen[0].certificate_names

    assert scene(play, context_of(asks=True)) == ("agent-0.banyandb", "spiffe.example.org")


def test_a_certificate_without_other_names_has_its_common_name():
    told = {"subject": ((("commonName", "agent"),),)}

    assert sealed.names_of(told) == ("agent",)
    assert sealed.names_of({}) == ()
    assert sealed.names_of(None) == ()


@pytest.mark.parametrize("cert", [None, OTHER_CA.issue_cert("agent")], ids=["none", "another's"])
def test_clients_without_a_certificate_that_we_trust_are_not_served(cert):
    async def play(server, seen):
        async with calling(server, cert) as stream:
            return await stream.code(), seen

    assert scene(play, context_of(asks=True)) == (grpc.StatusCode.UNAVAILABLE, [])


def test_clients_get_the_certificate_that_the_context_has_when_they_come():
    context = context_of(OTHER_CA.issue_cert("localhost"))

    async def play(server, _seen):
        async with calling(server) as stream:
            before = await stream.code()
        OURS.configure_cert(context)
        async with calling(server) as stream:
            await stream.write(b"x")
            return before, await stream.read()

    assert scene(play, context) == (grpc.StatusCode.UNAVAILABLE, b"x")


def test_plain_text_is_answered_with_the_end():
    async def play(server, _seen):
        reader, writer = await raw(server)
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            answer = await reader.read()
            assert b"HTTP" not in answer
        writer.close()

    scene(play, context_of())


def test_a_client_that_does_not_shake_hands_is_closed_after_a_while(monkeypatch):
    monkeypatch.setattr(serving, "_LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(sealed, "HANDSHAKE_TIMEOUT_S", 0.2)

    async def play(server, _seen):
        reader, writer = await raw(server)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()

    scene(play, context_of())


def test_stop_ends_clients_that_talk_and_such_that_never_began():
    async def play(server, seen):
        loop = asyncio.get_running_loop()
        _, silent = await raw(server)
        async with calling(server) as stream:
            await stream.write(b"x")
            await stream.read()
            began_s = loop.time()
            await server.stop()
            took_s = loop.time() - began_s
            silent.close()
            return await stream.code(), took_s

    code, took_s = scene(play, context_of())

    assert code is grpc.StatusCode.UNAVAILABLE
    assert took_s < 10


def test_a_client_that_goes_without_goodbye_ends_its_handlers():
    async def play(server, seen):
        tls = ssl.create_default_context()
        CA.configure_trust(tls)
        tls.set_alpn_protocols(["h2"])
        host, _, port = server.address.rpartition(":")
        _, writer = await asyncio.open_connection(
            host.strip("[]"), int(port), ssl=tls, server_hostname="localhost"
        )
        greeting = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
        block = b"\x83\x86\x04\x09/t.T/echo\x00\x0ccontent-type\x10application/grpc"
        head = len(block).to_bytes(3, "big") + b"\x01\x04\x00\x00\x00\x01"
        writer.write(greeting + head + block)
        await until(lambda: seen)
        writer.transport.abort()
        await until(lambda: seen[0].is_over)

    scene(play, context_of())
