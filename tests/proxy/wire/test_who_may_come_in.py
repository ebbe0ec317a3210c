# SPDX-License-Identifier: Apache-2.0
"""The gate on the gRPC port over real sockets: who is let in by either contract, and who is not."""

import asyncio
import json
from pathlib import Path

import grpc

from fodc_protocol.options import Address
from fodc_proxy.access.answers import Away, Denied
from fodc_proxy.access.bearer import Review, Reviewed
from fodc_proxy.access.settings import AccessSettings
from fodc_proxy.fleet.limits import Limits
from fodc_proxy.fleet.membership import Phase
from fodc_proxy.hosting import Host
from fodc_proxy.settings import AgentAccess

from ..live import SERVICE as FODC  # noqa: TID252 - one folder's tests
from ..live import GoAgent, LinkAgent, fetch, running, until  # noqa: TID252 - one folder's tests

EVERYWHERE = Address("", 0)
READY_WORDS = "agents were refused just now, the log says which: BadToken, OtherAgent"
INSECURE = AgentAccess(is_insecure=True)


def open_to_all(tmp_path: Path) -> AgentAccess:
    """Everybody comes in, and a token counts all the same: the listener is of loopback."""
    tokens = tmp_path / "agents"
    tokens.write_text("rack-1 vm-0 s3cret-s3cret-s3cret\n")
    return AgentAccess(str(tokens), is_insecure=True)


def bound(namespace: str, pod: str, uid: str) -> Reviewed:
    extra = {
        "authentication.kubernetes.io/pod-name": (pod,),
        "authentication.kubernetes.io/pod-uid": (uid,),
    }
    return Reviewed(f"system:serviceaccount:{namespace}:default", extra=extra)


class Reviewer:
    """The API server: knows some tokens, and may be away or slow."""

    def __init__(self) -> None:
        self.known: dict[str, Review] = {
            "t-data-0": bound("banyandb", "data-0", "u-0"),
            "t-data-1": bound("banyandb", "data-1", "u-1"),
            "t-elsewhere": bound("elsewhere", "data-0", "u-0"),
            "t-audience": Denied("the token is not meant for fodc-proxy"),
            "t-expired": Denied("the token is not valid: token has expired"),
            "t-person": Reviewed("alice"),
        }
        self.audiences: set[tuple[str, ...]] = set()
        self.is_away = False
        self.goes_on = asyncio.Event()
        self.goes_on.set()

    async def review(self, token: str, audiences: tuple[str, ...]) -> Review:
        self.audiences.add(audiences)
        await self.goes_on.wait()
        if self.is_away:
            return Away("the API server cannot review tokens now")
        return self.known.get(token, Denied("the token is not valid"))


def scene(tmp_path: Path, play, **told):
    async def run():
        reviewer = Reviewer()
        host = Host(token_reviewer=reviewer)
        told.setdefault("access", AccessSettings(is_insecure=True))  # people are another matter
        async with running(tmp_path, host=host, **told) as proxy:
            return await play(proxy, reviewer)

    return asyncio.run(run())


def data_0(proxy, token: str = "t-data-0", **more):
    told = {"pod_uid": "u-0", "token": token, **more}
    return LinkAgent(proxy, told.pop("pod_name", "data-0"), **told)


def test_a_pod_is_let_in_as_itself_and_seen_with_its_proof(tmp_path: Path) -> None:
    async def play(proxy, reviewer):
        async with data_0(proxy) as agent:
            page = (await fetch(proxy, "/metrics")).text
            member = proxy.registry.find("data-0")
            return agent.welcome, member, reviewer.audiences, page

    welcome, member, audiences, page = scene(tmp_path, play)

    assert welcome.WhichOneof("frame") == "welcome"
    assert (member.authority.proof, member.authority.principal) == (
        "PodToken",
        "pod banyandb/data-0 u-0",
    )
    assert member.conditions == ()
    assert audiences == {("fodc-proxy",)}
    assert 'fodc_proxy_agents_by_proof{proof="PodToken"} 1.0' in page
    assert 'fodc_proxy_token_reviews_total{result="yes"} 1.0' in page


def test_whoever_shows_what_is_not_its_own_is_refused_told_why_and_counted(
    tmp_path: Path,
) -> None:
    async def play(proxy, _):
        refusals = []
        for token, more in (
            ("t-data-1", {}),
            ("t-elsewhere", {}),
            ("t-data-0", {"pod_uid": "u-9"}),
            ("t-data-0", {"namespace": "elsewhere"}),
            ("t-audience", {}),
            ("t-expired", {}),
            ("t-person", {}),
            ("nonsense", {}),
        ):
            async with data_0(proxy, token, **more) as agent:
                refusals.append(agent.welcome.refusal)
        page = (await fetch(proxy, "/metrics")).text
        assert READY_WORDS in (await fetch(proxy, "/readyz")).text
        return refusals, proxy.registry.members(), page

    refusals, members, page = scene(tmp_path, play)

    elsewhere = (
        "the token is of pod elsewhere/data-0 u-0: its namespace is 'elsewhere', not 'banyandb'"
    )
    assert [(one.reason, one.message) for one in refusals] == [
        (
            "Forbidden",
            "the token is of pod banyandb/data-1 u-1: its pod name is 'data-1', not 'data-0'",
        ),
        ("Forbidden", elsewhere),
        ("Forbidden", "the token is of pod banyandb/data-0 u-0: its pod UID is 'u-0', not 'u-9'"),
        (
            "Forbidden",
            "the token is of pod banyandb/data-0 u-0: its namespace is 'banyandb', not 'elsewhere'",
        ),
        ("Unauthenticated", "the token is not meant for fodc-proxy"),
        ("Unauthenticated", "the token is not valid: token has expired"),
        ("Unauthenticated", "the token is of no ServiceAccount"),
        ("Unauthenticated", "the token is not valid"),
    ]
    assert {one.retry_after_ms for one in refusals} == {30_000}
    assert members == ()
    assert 'fodc_proxy_agents_refused_total{reason="OtherAgent"} 4.0' in page
    assert 'fodc_proxy_agents_refused_total{reason="BadToken"} 4.0' in page


def test_a_stranger_is_refused_by_either_contract(tmp_path: Path) -> None:
    async def play(proxy, _):
        async with LinkAgent(proxy, "data-0") as agent, GoAgent(proxy, "data-0") as legacy:
            code = await legacy.registration.code()
            return agent.welcome.refusal, legacy.reply, code, proxy.registry.members()

    refusal, reply, code, members = scene(tmp_path, play, grpc_listen=EVERYWHERE)

    assert refusal.reason == "Unauthenticated"
    assert refusal.message == (
        "no token and no client certificate was shown: give the agent --proxy-tls-ca with "
        "--proxy-token-file or --proxy-tls-cert"
    )
    assert (reply.success, code) == (False, grpc.StatusCode.UNAUTHENTICATED)
    assert reply.message == (
        "no token and no client certificate was shown; agents that have none are let in with "
        "--legacy-agents=allow of the proxy"
    )
    assert members == ()


def test_a_token_in_the_clear_is_refused_where_others_could_read_it(tmp_path: Path) -> None:
    async def play(proxy, reviewer):
        async with data_0(proxy) as agent:
            return agent.welcome.refusal, reviewer.audiences

    refusal, audiences = scene(tmp_path, play, grpc_listen=EVERYWHERE)

    assert refusal.message == (
        "a token came without TLS, where others can read it: replace that token"
    )
    assert audiences == set()


def test_an_existing_agent_that_is_allowed_by_name_is_marked(tmp_path: Path) -> None:
    async def play(proxy, _):
        async with GoAgent(proxy, "data-0") as agent, LinkAgent(proxy, "data-1") as ours:
            assert agent.reply.success
            found = json.loads((await fetch(proxy, "/cluster")).text)["nodes"]
            return found, ours.welcome.refusal.reason, (await fetch(proxy, "/metrics")).text

    told = {"grpc_listen": EVERYWHERE, "agents": AgentAccess(legacy="allow")}
    [node], refused, page = scene(tmp_path, play, **told)

    assert [(one["type"], one["reason"]) for one in node["conditions"]] == [
        ("Unauthenticated", "Unauthenticated")
    ]
    assert refused == "Unauthenticated"
    assert 'fodc_proxy_agents_by_proof{proof="None"} 1.0' in page


def test_what_was_turned_off_by_name_shows_in_readiness_log_and_metric(
    tmp_path: Path, caplog
) -> None:
    async def play(proxy, _):
        async with LinkAgent(proxy, "data-0"):
            ready = json.loads((await fetch(proxy, "/readyz")).text)
            member = proxy.registry.find("data-0")
            return ready, member, (await fetch(proxy, "/metrics")).text

    ready, member, page = scene(tmp_path, play, grpc_listen=EVERYWHERE, agents=INSECURE)

    words = "INSECURE: agents need neither TLS nor tokens, because of --insecure-agents"
    assert [one["message"] for one in ready["checks"] if one["name"] == "agents"] == [words]
    assert [one.message for one in caplog.records].count(words) == 1
    assert "fodc_proxy_insecure_agents 1.0" in page
    assert ([one.type for one in member.conditions], member.phase) == (
        ["Unauthenticated"],
        Phase.ONLINE,
    )


def test_who_has_shown_nothing_takes_no_pod_from_one_that_has(tmp_path: Path) -> None:
    async def play(proxy, _):
        async with data_0(proxy) as agent:
            async with GoAgent(proxy, "data-0") as legacy, LinkAgent(proxy, "data-0") as stranger:
                code = await legacy.registration.code()
                member = proxy.registry.find("data-0")
                refused = dict(proxy.gate.refused)
                claims = (legacy.reply, code, stranger.welcome.refusal, refused)
            assert proxy.link.is_linked("banyandb/data-0")
            return member.agent_id == agent.agent_id, claims, member.conditions

    told = {"agents": open_to_all(tmp_path)}
    is_still, (reply, code, refusal, refused), conditions = scene(tmp_path, play, **told)

    words = (
        "pod data-0 is served by an agent that has shown a token or certificate; this one has "
        "shown none"
    )
    assert is_still
    assert (reply.success, reply.message, code) == (
        *(False, words),
        grpc.StatusCode.PERMISSION_DENIED,
    )
    assert (refusal.reason, refusal.message) == ("Unauthenticated", words)
    assert refused == {"Claimed": 2}
    assert conditions == ()


def test_whoever_shows_its_proof_takes_the_pod_from_one_that_has_none(tmp_path: Path) -> None:
    async def play(proxy, _):
        async with GoAgent(proxy, "data-0", "ROLE_LIAISON"), data_0(proxy) as agent:
            members = proxy.registry.members()
            return [one.agent_id for one in members] == [agent.agent_id]

    assert scene(tmp_path, play, agents=open_to_all(tmp_path))


def test_a_token_in_the_clear_counts_for_nothing_where_everybody_is_let_in(
    tmp_path: Path, caplog
) -> None:
    async def play(proxy, reviewer):
        async with data_0(proxy), data_0(proxy, "nonsense", pod_name="data-1"):
            members = proxy.registry.members()
            return members, (await fetch(proxy, "/readyz")).text, reviewer.audiences

    members, ready, asked = scene(tmp_path, play, grpc_listen=EVERYWHERE, agents=INSECURE)

    assert [one.authority.proof for one in members] == ["None", "None"]
    words = "tokens came without TLS, where others can read them, and count for nothing"
    assert words in ready
    assert sum(words in one.message for one in caplog.records) == 1
    assert asked == set()


def test_a_data_stream_attaches_by_the_right_of_its_registration_only(tmp_path: Path) -> None:
    async def play(proxy, _):
        async with GoAgent(proxy, "data-0", token="t-data-0") as agent:
            await agent.attached(proxy)
            member = proxy.registry.find("data-0")
            ends = []
            for token in ("", "t-data-1", "nonsense"):
                thief = GoAgent(proxy, "data-0", token=token)
                stream = thief.call(FODC + "StreamMetrics", agent_id=agent.agent_id)
                ends.append((await stream.code(), await stream.details()))
                await thief.close()
            assert proxy.fodc.has_stream(agent.agent_id, "StreamMetrics")
            return member, ends

    member, ends = scene(tmp_path, play)

    assert (member.namespace, member.identity.pod_uid) == ("banyandb", "u-0")
    another = "the agent ID is of a registration with another token or certificate"
    assert ends == [
        (grpc.StatusCode.PERMISSION_DENIED, another),
        (grpc.StatusCode.PERMISSION_DENIED, another),
        (grpc.StatusCode.UNAUTHENTICATED, "the token is not valid"),
    ]


def test_a_stranger_keeps_no_data_stream_of_an_agent_that_is_not_there(tmp_path: Path) -> None:
    """Six of them, each with the beginning of a large message, blinded the whole fleet."""

    async def play(proxy, _):
        stranger = GoAgent(proxy, "nobody-0")
        stream = stranger.call(FODC + "StreamMetrics", agent_id="nosuch")
        end = await stream.code(), await stream.details()
        await stranger.close()
        return end

    assert scene(tmp_path, play, grpc_listen=EVERYWHERE) == (
        grpc.StatusCode.UNAUTHENTICATED,
        "no token and no client certificate was shown",
    )


def test_a_token_of_the_file_is_let_in_for_the_agents_of_its_line(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("rack-1 vm-0,vm-1 s3cret-s3cret-s3cret\n")

    async def play(proxy, reviewer):
        more = {"namespace": "", "token": "s3cret-s3cret-s3cret"}
        async with (
            LinkAgent(proxy, "vm-0", **more) as agent,
            LinkAgent(proxy, "vm-2", **more) as other,
        ):
            member = proxy.registry.find("vm-0")
            return agent.welcome, other.welcome.refusal, member, reviewer.audiences

    told = {"agents": AgentAccess(str(tokens))}
    welcome, refusal, member, audiences = scene(tmp_path, play, **told)

    assert welcome.WhichOneof("frame") == "welcome"
    assert (member.authority.proof, member.authority.principal) == ("Token", "token rack-1")
    assert refusal.message == "token rack-1 may not speak for vm-2"
    assert audiences == set()


def test_who_registers_too_often_is_told_when_to_come_back(tmp_path: Path) -> None:
    async def play(proxy, _):
        now = proxy.gate._now()
        proxy.gate._now = lambda: now
        for _ in range(30):
            async with data_0(proxy):
                pass
        async with (
            data_0(proxy) as agent,
            GoAgent(proxy, "data-0", token="t-data-0") as legacy,
            LinkAgent(proxy, "data-1", pod_uid="u-1", token="t-data-1") as other,
        ):
            code = await legacy.registration.code()
            return agent.welcome.refusal, code, legacy.reply.message, other.welcome

    refusal, code, message, other = scene(tmp_path, play)

    words = "pod banyandb/data-0 u-0 registers more than 30 times at once and 1 per second"
    assert (refusal.reason, refusal.message.partition(": come")[0]) == ("Throttled", words)
    assert refusal.retry_after_ms == 1_000
    assert (code, message.partition(": come")[0]) == (grpc.StatusCode.RESOURCE_EXHAUSTED, words)
    assert other.WhichOneof("frame") == "welcome"


def test_more_registrations_than_the_whole_may_have_are_refused_by_the_name_of_the_flag(
    tmp_path: Path,
) -> None:
    async def play(proxy, _):
        async with LinkAgent(proxy, "a"), LinkAgent(proxy, "b"), LinkAgent(proxy, "c") as third:
            return third.welcome.refusal, dict(proxy.gate.refused)

    told = {"limits": Limits(max_agents=2), "agents": AgentAccess(registrations_per_s=0.01)}
    refusal, refused = scene(tmp_path, play, **told)

    assert refusal.reason == "Throttled"
    assert refusal.message.startswith(
        "more than --registrations-per-s=0.01 agents register: come back in "
    )
    assert refused == {"TooOften": 1}


def test_while_the_api_server_is_away_who_is_known_comes_back_and_who_is_new_is_told(
    tmp_path: Path,
) -> None:
    async def play(proxy, reviewer):
        async with data_0(proxy):
            pass
        await until(lambda: not proxy.link.is_linked("banyandb/data-0"))
        reviewer.is_away = True
        async with (
            data_0(proxy) as known,
            LinkAgent(proxy, "data-1", pod_uid="u-1", token="t-data-1") as new,
            GoAgent(proxy, "data-1", token="t-data-1") as legacy,
        ):
            code = await legacy.registration.code()
            return known.welcome, new.welcome.refusal, legacy.reply.message, code

    welcome, refusal, message, code = scene(tmp_path, play)

    words = "the API server cannot review tokens now"
    assert welcome.WhichOneof("frame") == "welcome"
    assert (refusal.reason, refusal.message, refusal.retry_after_ms) == (
        *("Unauthenticated", words),
        5_000,
    )
    assert (message, code) == (words, grpc.StatusCode.UNAVAILABLE)
