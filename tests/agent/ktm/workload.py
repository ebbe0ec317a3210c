# SPDX-License-Identifier: Apache-2.0
"""A known amount of work: `workload.py WHAT FILE CGROUP...` waits for SIGUSR1, enters and works.

Between entering and ending nothing is read but what is meant, so that counts are exact.
"""

import mmap
import os
import signal
import sys
import threading
import time
from pathlib import Path

FILE = os.open(__file__, os.O_RDONLY)
PIPE = os.pipe()


def reads():
    """Do 4 x 250 pread of 100 bytes, 25 that fail, 40 reads of the file, 10 late ones of a pipe."""
    threads = [threading.Thread(target=many_preads) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _ in range(25):
        failing_pread()
    for _ in range(40):
        os.lseek(FILE, 0, os.SEEK_SET)
        os.read(FILE, 50)
    feeder = threading.Thread(target=feed_slowly)
    feeder.start()
    for _ in range(10):
        os.read(PIPE[0], 1)
    feeder.join()


def many_preads():
    """Do 250 pread of 100 bytes."""
    for _ in range(250):
        os.pread(FILE, 100, 0)


def failing_pread():
    """Fail at once: the descriptor is not open."""
    try:
        os.pread(10_000, 1, 0)
    except OSError:
        return


def feed_slowly():
    """Write ten bytes, 48 ms apart: what a kernel's histogram is measured against."""
    for _ in range(10):
        time.sleep(0.048)  # the middle of a bucket: a busy machine is 15 ms late
        os.write(PIPE[1], b"x")


def advises():
    """Give advice 0 to 4 once, twice, ... and so on."""
    for advice in range(5):
        for _ in range(advice + 1):
            os.posix_fadvise(FILE, 0, 0, advice)


def path():
    """Return the file that was named as the second word."""
    return sys.argv[2]


def cold():
    """Give a file's pages up and read it twice."""
    file = os.open(path(), os.O_RDONLY)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    for _ in range(2):
        while os.read(file, 1 << 20):
            pass
        os.lseek(file, 0, os.SEEK_SET)


def blocks(file, places):
    """Read blocks of 128 KiB, one after the other."""
    for place in places:
        os.pread(file, 128 << 10, place * (128 << 10))


def scans():
    """Read all of a file in blocks."""
    file = os.open(path(), os.O_RDONLY)
    blocks(file, range(os.fstat(file).st_size // (128 << 10)))


def reads_some():
    """Read 40 blocks in eight threads, without reading ahead."""
    file = os.open(path(), os.O_RDONLY)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)
    threads = [threading.Thread(target=blocks, args=(file, range(n, 40, 8))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.close(file)


def evicts():
    """Give a file's pages up and read 40 blocks of it again."""
    file = os.open(path(), os.O_RDONLY)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)
    reads_some()


def suffers():
    """Give a file's pages up and read them again until somebody ends it."""
    while True:
        evicts()


def direct():
    """Read 64 blocks from the disk itself."""
    file = os.open(path(), os.O_RDONLY | os.O_DIRECT)
    with mmap.mmap(-1, 4096) as block:
        for place in range(64):
            os.preadv(file, [block], place * 4096)


def syncs():
    """Call fsync five times and once in vain, and fdatasync three times."""
    file = os.open(path(), os.O_WRONLY)
    for place in range(5):
        os.pwrite(file, b"x", place)
        os.fsync(file)
    for place in range(3):
        os.pwrite(file, b"y", place)
        os.fdatasync(file)
    try:
        os.fsync(PIPE[0])
    except OSError:
        return


def shares():
    """Compete with a thread of another process for one processor, and tell how long it waited."""
    os.sched_setaffinity(0, {0})
    rival = os.fork()
    if rival == 0:
        while True:
            pass
    ends_at_s = time.monotonic() + 0.7
    while time.monotonic() < ends_at_s:
        pass
    os.kill(rival, signal.SIGKILL)
    os.waitpid(rival, 0)
    os.write(1, b"%d\n" % (waited_ns() - BEFORE_NS))


def waited_ns():
    """Return for how long this thread could run and did not, as the scheduler says."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1])


BEFORE_NS = waited_ns()  # ahead of the wait for the signal: who is aimed at counts from there on

WORK = {
    "reads": reads,
    "advises": advises,
    "cold": cold,
    "scans": scans,
    "reads_some": reads_some,
    "evicts": evicts,
    "suffers": suffers,
    "direct": direct,
    "syncs": syncs,
    "shares": shares,
}


def main():
    """Wait, enter, work, end without a read more."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    os.write(1, b"waits\n")
    signal.sigwait({signal.SIGUSR1})
    for group in sys.argv[3:]:
        (Path(group) / "cgroup.procs").write_text("0")
    WORK[sys.argv[1]]()
    os._exit(0)


if __name__ == "__main__":
    main()
