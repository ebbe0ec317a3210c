# SPDX-License-Identifier: Apache-2.0
"""A node answers, refuses, says nothing, or hangs up."""

import asyncio

import pytest

from fodc_agent.occurrences.probe import problem_of


async def answering(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 404 Not Found\r\n\r\n")
    writer.close()


async def silent(reader, writer):
    await reader.read()
    writer.close()


async def leaving(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.close()


@pytest.mark.parametrize(
    ("handler", "told"),
    [
        (answering, ""),
        (silent, "does not answer within 0.2 s"),
        (leaving, "ends connections without an answer"),
    ],
)
def test_any_answer_is_one_and_silence_is_none(handler, told):
    async def play():
        over = asyncio.Event()

        async def served(reader, writer):
            await handler(reader, writer)
            await writer.wait_closed()
            over.set()

        server = await asyncio.start_server(served, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            problem = await problem_of("127.0.0.1", port, 0.2)
            await over.wait()
            return problem

    problem = asyncio.run(play())
    assert told in problem
    assert bool(problem) == bool(told)


def test_a_port_that_nobody_listens_on_is_named():
    async def play():
        server = await asyncio.start_server(answering, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        return port, await problem_of("127.0.0.1", port, 2.0)

    port, problem = asyncio.run(play())
    assert problem.startswith(f"127.0.0.1:{port}: ")
