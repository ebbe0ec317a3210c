# SPDX-License-Identifier: Apache-2.0
"""One profile from a pprof port: what comes back, what is refused, and how long it may take."""

import asyncio
import gzip
import tracemalloc
from pathlib import Path

import pytest

from fodc_agent.captures.outcomes import Failed, Order, order_of
from fodc_agent.captures.pprof import PprofPort, Taken, target_of
from fodc_agent.captures.spool import PartFile
from fodc_agent.lanes import Lane
from fodc_agent.scraping.client import HttpClient
from fodc_protocol.errors import BadRequestError, Reason
from fodc_protocol.link.frames import StartCapture
from fodc_protocol.profiles import Profile

BUSY = {
    Profile.CPU: b"Could not enable CPU profiling: cpu profiling already in use\n",
    Profile.TRACE: b"Could not enable tracing: tracing is already enabled\n",
}


def order(profile: Profile = Profile.HEAP, **changes) -> Order:
    values = {"command_id": "cmd-1", "profile": profile, "duration_s": 0.0, "timeout_s": 5.0}
    return Order(**{**values, **changes})


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def status(code: int, text: bytes, *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 %d No" % code, b"Content-Length: %d" % len(text), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + text


def busy(profile: Profile) -> bytes:
    return status(500, BUSY[profile], b"X-Go-Pprof: 1")


def answering(answer: bytes, seen: list[str] | None = None):
    async def handle(target, writer):
        if seen is not None:
            seen.append(target)
        writer.write(answer)

    return handle


async def take(
    base_url: str, path, wanted: Order, inspection_s: float = 60, **options
) -> Taken | Failed:
    part = PartFile(path / f"{wanted.command_id}.part", Lane("spool"))
    part.open()
    client = HttpClient()
    try:
        lane = Lane("inspection", timeout_s=inspection_s)
        return await PprofPort(client, base_url, lane, **options).take(wanted, part)
    finally:
        part.close()
        await client.aclose()


def taken(pprof_port, path, handler, wanted: Order, **options) -> Taken | Failed:
    async def run():
        async with pprof_port(handler) as base_url:
            return await take(base_url, path, wanted, **options)

    return asyncio.run(run())


# ---- what comes back ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("profile", "name"),
    [
        (Profile.HEAP, "heap.pb.gz"),
        (Profile.GOROUTINE, "goroutine.pb.gz"),
        (Profile.CPU, "profile-5s.pb.gz"),
        (Profile.THREADCREATE, "threadcreate.pb.gz"),
    ],
)
def test_a_profile_of_banyandb_is_taken_with_its_samples(
    pprof_port, recorded, tmp_path, profile, name
):
    body = recorded(name)

    result = taken(pprof_port, tmp_path, answering(ok(body)), order(profile, duration_s=5.0))

    assert isinstance(result, Taken)
    assert result.samples > 0
    assert (tmp_path / "cmd-1.part").read_bytes() == body


def test_a_trace_is_taken_when_it_has_a_header(pprof_port, recorded, tmp_path):
    result = taken(
        pprof_port,
        tmp_path,
        answering(ok(recorded("trace.head"))),
        order(Profile.TRACE, duration_s=1.0),
    )

    assert (result.samples, result.warnings) == (None, ())


@pytest.mark.parametrize("profile", [Profile.BLOCK, Profile.MUTEX])
def test_an_empty_profile_fails_and_says_that_the_rate_is_zero(
    pprof_port, recorded, tmp_path, profile
):
    """BanyanDB never sets a rate (§15.2): the answer is a valid profile without a sample."""
    result = taken(
        pprof_port,
        tmp_path,
        answering(ok(recorded(f"{profile}.pb.gz"))),
        order(profile, duration_s=1.0),
    )

    assert isinstance(result, Failed)
    assert result.reason is Reason.EMPTY_PROFILE
    assert "BanyanDB sets none" in result.message


def test_a_shorter_profile_than_asked_for_carries_a_warning(pprof_port, recorded, tmp_path):
    result = taken(
        pprof_port,
        tmp_path,
        answering(ok(recorded("profile-5s.pb.gz"))),
        order(Profile.CPU, duration_s=30.0, timeout_s=40),
    )

    assert result.warnings == ("the profile covers 5.0 s of 30 s",)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", Reason.CORRUPT_PROFILE),
        (b"<html>not here</html>", Reason.CORRUPT_PROFILE),
        (gzip.compress(b"hello"), Reason.CORRUPT_PROFILE),
    ],
    ids=["nothing", "html", "gzip of something else"],
)
def test_what_is_no_profile_fails_as_corrupt(pprof_port, tmp_path, body, reason):
    result = taken(pprof_port, tmp_path, answering(ok(body)), order())

    assert isinstance(result, Failed)
    assert result.reason is reason


def test_a_profile_cut_by_the_node_fails_as_corrupt(pprof_port, recorded, tmp_path):
    answer = ok(recorded("heap.pb.gz"))[:-100]

    result = taken(pprof_port, tmp_path, answering(answer), order())

    assert result.reason is Reason.CORRUPT_PROFILE
    assert "cut off after" in result.message


def test_a_gzip_that_ends_early_fails_as_corrupt(pprof_port, recorded, tmp_path):
    body = recorded("heap.pb.gz")[:-100]

    assert (
        taken(pprof_port, tmp_path, answering(ok(body)), order()).reason is Reason.CORRUPT_PROFILE
    )


@pytest.mark.parametrize("name", ["mm_2_4.pb", "mm_4_2.pb"])
def test_values_that_do_not_fit_the_types_fail_as_corrupt(pprof_port, tmp_path, name):
    """A20: such a profile Succeeded, and `go tool pprof` refuses it."""
    body = (Path(__file__).parents[2] / "data" / "pprof-cases" / name).read_bytes()

    result = taken(pprof_port, tmp_path, answering(ok(body)), order())

    assert result.reason is Reason.CORRUPT_PROFILE
    assert "values for" in result.message


def test_a_profile_that_is_too_much_to_look_into_is_kept_and_said_so(
    pprof_port, recorded, tmp_path
):
    """P23: 61 KB with 60 MiB of tiny fields cost 51 s of the database's processors."""
    plain = gzip.decompress(recorded("heap.pb.gz"))
    body = gzip.compress(plain + b"\x80\x01\x01" * 2_000_000)

    result = taken(pprof_port, tmp_path, answering(ok(body)), order())

    assert result.warnings == (
        "not inspected: profile has more than the 2000000 fields that are looked into",
    )
    assert result.samples is None


def test_a_profile_that_a_busy_machine_cannot_look_into_in_time_is_kept(
    pprof_port, recorded, tmp_path
):
    result = taken(
        pprof_port, tmp_path, answering(ok(recorded("heap.pb.gz"))), order(), inspection_s=0
    )

    assert result.samples is None
    assert result.warnings == ("not inspected: inspection: no answer within 0 s",)


# ---- the node's other answers ----------------------------------------------------------------


def test_a_profile_above_the_limit_fails_as_too_large(pprof_port, recorded, tmp_path):
    result = taken(
        pprof_port, tmp_path, answering(ok(recorded("heap.pb.gz"))), order(max_bytes=1000)
    )

    assert result.reason is Reason.TOO_LARGE


def test_a_500_of_another_kind_fails_as_node_error_at_once(pprof_port, tmp_path):
    seen: list[str] = []

    result = taken(pprof_port, tmp_path, answering(status(500, b"boom"), seen), order())

    assert result.reason is Reason.NODE_ERROR
    assert "HTTP 500: boom" in result.message
    assert len(seen) == 1


@pytest.mark.parametrize("code", [404, 501])
def test_a_profile_that_the_node_does_not_have_fails_as_unsupported(pprof_port, tmp_path, code):
    result = taken(pprof_port, tmp_path, answering(status(code, b"no such page")), order())

    assert result.reason is Reason.UNSUPPORTED


def test_a_closed_port_fails_as_unreachable(pprof_port, tmp_path):
    """T-PP-05's cause, here an outcome of its own."""

    async def run():
        async with pprof_port(answering(b"")) as base_url:
            pass
        return await take(base_url, tmp_path, order())

    assert asyncio.run(run()).reason is Reason.NODE_UNREACHABLE


def test_a_silent_node_fails_as_hung_when_the_order_is_over(pprof_port, tmp_path):
    """Failure 1: a hung node costs one deadline and nothing else."""

    async def hang(target, writer):
        await asyncio.Event().wait()

    result = taken(pprof_port, tmp_path, hang, order(timeout_s=0.1))

    assert result.reason is Reason.NODE_HUNG


def test_a13_a_profile_began_when_the_node_was_asked_and_not_when_it_was_ordered(
    pprof_port, recorded, tmp_path
):
    answers = [busy(Profile.CPU), ok(recorded("profile-5s.pb.gz"))]
    times = iter([1_000, 7_000])

    async def handle(target, writer):
        writer.write(answers.pop(0))

    async def no_pause(pause_s):
        pass

    async def run():
        async with pprof_port(handle) as base_url:
            wanted = order(Profile.CPU, duration_s=1.0, timeout_s=20.0)
            return await take(
                base_url, tmp_path, wanted, pause=no_pause, now_ms=lambda: next(times)
            )

    assert asyncio.run(run()).began_at_ms == 7_000


# ---- a profiler that is taken -----------------------------------------------------------------


@pytest.mark.parametrize("profile", [Profile.CPU, Profile.TRACE])
def test_a_busy_profiler_is_asked_again_until_it_is_free(pprof_port, recorded, tmp_path, profile):
    """Failure 15: the second concurrent profile gets 500 with X-Go-Pprof."""
    body = recorded("profile-5s.pb.gz" if profile is Profile.CPU else "trace.head")
    answers = [busy(profile), busy(profile), ok(body)]
    pauses: list[float] = []

    async def handle(target, writer):
        writer.write(answers.pop(0))

    async def no_pause(pause_s):
        pauses.append(pause_s)

    async def run():
        async with pprof_port(handle) as base_url:
            wanted = order(profile, duration_s=1.0, timeout_s=20.0)
            return await take(base_url, tmp_path, wanted, pause=no_pause)

    result = asyncio.run(run())

    assert isinstance(result, Taken)
    assert result.warnings == ("somebody else profiled the node; this capture had to wait",)
    assert pauses == [0.5, 1.0]
    assert (tmp_path / "cmd-1.part").read_bytes() == body


def test_a_busy_profiler_fails_when_no_time_is_left_for_the_profile(pprof_port, tmp_path):
    result = taken(
        pprof_port,
        tmp_path,
        answering(busy(Profile.CPU)),
        order(Profile.CPU, duration_s=5.0, timeout_s=5.2),
    )

    assert isinstance(result, Failed)
    assert result.reason is Reason.PROFILER_BUSY
    assert "cpu profiling already in use" in result.message


def test_a_500_with_the_header_but_another_text_is_not_taken_for_busy(pprof_port, tmp_path):
    answer = status(500, b"could not read the heap", b"X-Go-Pprof: 1")

    assert taken(pprof_port, tmp_path, answering(answer), order()).reason is Reason.NODE_ERROR


class OneAtATime:
    """A pprof port that counts how many requests it serves at the same time."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.now = self.most = 0
        self.release = asyncio.Event()
        self.entered = asyncio.Event()

    async def __call__(self, target, writer):
        self.now += 1
        self.most = max(self.most, self.now)
        self.entered.set()
        await self.release.wait()
        self.now -= 1
        writer.write(ok(self.body))


def test_a_second_exclusive_capture_waits_for_the_first(pprof_port, recorded, tmp_path):
    async def run():
        port = OneAtATime(recorded("profile-5s.pb.gz"))
        async with pprof_port(port) as base_url:
            client = HttpClient()
            profiler = PprofPort(client, base_url, Lane("inspection"))
            parts = [PartFile(tmp_path / f"{number}.part", Lane("spool")) for number in range(2)]
            for part in parts:
                part.open()
            takes = [
                asyncio.create_task(
                    profiler.take(order(Profile.CPU, duration_s=5.0, timeout_s=20.0), part)
                )
                for part in parts
            ]
            await port.entered.wait()
            port.release.set()
            results = await asyncio.gather(*takes)
            for part in parts:
                part.close()
            await client.aclose()
        return port.most, results

    most, results = asyncio.run(run())

    assert most == 1
    assert all(isinstance(result, Taken) for result in results)


def test_a_second_exclusive_capture_fails_when_the_first_ends_too_late(pprof_port, tmp_path):
    async def run():
        port = OneAtATime(b"")
        async with pprof_port(port) as base_url:
            client = HttpClient()
            profiler = PprofPort(client, base_url, Lane("inspection"))
            first_part, second_part = (
                PartFile(tmp_path / name, Lane("spool")) for name in ("a", "b")
            )
            first_part.open()
            second_part.open()
            first = asyncio.create_task(profiler.take(order(Profile.CPU), first_part))
            await port.entered.wait()
            second = await profiler.take(
                order(Profile.CPU, duration_s=5.0, timeout_s=5.05), second_part
            )
            port.release.set()
            await first
            first_part.close()
            second_part.close()
            await client.aclose()
        return second

    result = asyncio.run(run())

    assert result.reason is Reason.PROFILER_BUSY
    assert "another cpu capture of this agent runs" in result.message


# ---- what is asked -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "target"),
    [
        (order(Profile.CPU, duration_s=30.0), "/debug/pprof/profile?seconds=30"),
        (order(Profile.TRACE, duration_s=5.0), "/debug/pprof/trace?seconds=5"),
        (order(Profile.HEAP), "/debug/pprof/heap"),
        (order(Profile.HEAP, gc=True), "/debug/pprof/heap?gc=1"),
        (order(Profile.GOROUTINE, gc=True), "/debug/pprof/goroutine"),
    ],
)
def test_target_names_path_and_duration(wanted, target):
    assert target_of(wanted) == target


def test_order_of_a_frame_takes_the_defaults_of_the_profile():
    wanted = order_of(StartCapture("cmd-1", "cpu", duration_ms=0, timeout_ms=0))

    assert (wanted.duration_s, wanted.timeout_s, wanted.max_bytes) == (30.0, 60.0, 64 << 20)


@pytest.mark.parametrize(
    "frame",
    [
        StartCapture("cmd-1", "Magic!", 0, 0),
        StartCapture("cmd-1", "cpu", 10_000_000, 0),
        StartCapture("../x", "cpu", 1000, 0),
    ],
    ids=["profile", "duration", "id"],
)
def test_order_of_a_bad_frame_is_refused(frame):
    with pytest.raises(BadRequestError):
        order_of(frame)


def test_a_node_that_floods_200_mb_fails_as_too_large_and_costs_no_memory(pprof_port, tmp_path):
    sent = 0

    async def flood(target, writer):
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        piece = b"10000\r\n" + bytes(65_536) + b"\r\n"
        while sent < 200 * 2**20:
            writer.write(piece)
            await writer.drain()
            sent += 65_536

    tracemalloc.start()
    result = taken(pprof_port, tmp_path, flood, order(max_bytes=8 * 2**20, timeout_s=30.0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert result.reason is Reason.TOO_LARGE
    assert peak < 4 * 2**20
    assert sent < 60 * 2**20


def test_a_profile_too_large_to_look_into_is_kept_with_a_warning(pprof_port, tmp_path):
    body = bytes(5 * 2**20)

    result = taken(pprof_port, tmp_path, answering(ok(body)), order())

    assert result.samples is None
    assert result.warnings == ("not inspected: 5242880 bytes are too many to look into here",)
