# SPDX-License-Identifier: Apache-2.0
"""A known amount of work: `workload.py WHAT CGROUP...` waits for SIGUSR1, enters and works.

Between entering and ending nothing is read but what is meant, so that counts are exact.
"""

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
    """Write ten bytes, 12 ms apart: what a kernel's histogram is measured against."""
    for _ in range(10):
        time.sleep(0.012)
        os.write(PIPE[1], b"x")


def advises():
    """Give advice 0 to 4 once, twice, ... and so on."""
    for advice in range(5):
        for _ in range(advice + 1):
            os.posix_fadvise(FILE, 0, 0, advice)


def main():
    """Wait, enter, work, end without a read more."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    os.write(1, b"waits\n")
    signal.sigwait({signal.SIGUSR1})
    for group in sys.argv[2:]:
        (Path(group) / "cgroup.procs").write_text("0")
    {"reads": reads, "advises": advises}[sys.argv[1]]()
    os._exit(0)


if __name__ == "__main__":
    main()
