# SPDX-License-Identifier: Apache-2.0
"""Credentials of agents, and of requests that cannot be read, come out nowhere."""

import asyncio
import logging
from pathlib import Path

import pytest

from fodc_proxy.access.settings import AccessSettings
from fodc_proxy.hosting import Host
from fodc_proxy.settings import AgentAccess

from ..live import GoAgent, LinkAgent, fetch, running  # noqa: TID252 - one folder's tests
from .test_no_secret_is_told import IN_CLUSTER, WHILE_AWAY, ApiServer

OF_FILE = "s3cret-of-a-rack-b1b1"
WRONG = "wr0ng-of-nobody-d4d4"
IN_NOISE = "n0ise-in-a-request-f6f6"


@pytest.mark.parametrize("is_insecure", [False, True])
def test_no_token_of_an_agent_is_in_logs_metrics_readiness_or_answers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, is_insecure: bool
) -> None:
    caplog.set_level(logging.DEBUG)
    tokens, audit = tmp_path / "agents", tmp_path / "audit"
    tokens.write_text(f"rack-1 vm-0 {OF_FILE}\n")

    async def run() -> list[str]:
        access = AccessSettings(is_insecure=True, audit_log=str(audit))
        told = {"agents": AgentAccess(str(tokens), is_insecure=is_insecure), "access": access}
        async with running(tmp_path, host=Host(token_reviewer=ApiServer()), **told) as proxy:
            said = []
            for token in (OF_FILE, WRONG, IN_CLUSTER, WHILE_AWAY, f"{WRONG} {WRONG}"):
                async with LinkAgent(proxy, "vm-0", token=token) as agent:
                    said.append(str(agent.welcome))
            async with GoAgent(proxy, "vm-0") as legacy:
                said.append(str(legacy.reply))
            await noise(proxy.http_address)
            for path in ("/readyz", "/metrics", "/cluster"):
                said.append((await fetch(proxy, path)).text)
            return said

    said = asyncio.run(run())
    everything = "\n".join([*said, caplog.text, audit.read_text()])
    secrets = [WRONG, IN_CLUSTER, WHILE_AWAY, OF_FILE, IN_NOISE]
    assert [one for one in secrets if one in everything] == []
    # It would have been seen: each way was gone.
    assert "agent refused" in caplog.text


async def noise(address: str) -> None:
    """Requests that cannot be read, with a token on a line that is wrong."""
    host, port = address.rsplit(":", 1)
    head = f"GET /cluster HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {IN_NOISE}"
    for data in (
        head.encode() + b"\xff\x00\r\n\r\n",
        head.encode().replace(b"Authorization:", b"Author\xffization:") + b"\r\n\r\n",
        f"GET /?token={IN_NOISE} HTT/1\r\n\r\n".encode(),
        f"{IN_NOISE}\r\n\r\n".encode(),
    ):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(data)
        async with asyncio.timeout(10):
            await reader.read(100)
        writer.transport.abort()
