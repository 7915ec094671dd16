"""A process of its own that ends commands whose advisor was killed; started as a script, imports nothing of ours.

Its standard input is a pipe that the advisor alone can write to: ``+GROUP`` begins the care of a process group,
``-GROUP`` ends it. When the pipe is closed, by whatever death, the groups that are left get SIGTERM, then SIGKILL.
Invariant: it ends by itself, at most a few seconds after the advisor.
"""

import os
import signal
import sys
import time

GRACE_S = 3.0
"""How long a group has to end by itself."""


def main(sockets: str) -> None:
    """Read orders until the pipe ends, end what is left, and remove the folder of sockets."""
    for told_to_end in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(told_to_end, signal.SIG_IGN)  # what ends the advisor must not end this one before it
    groups: set[int] = set()
    for line in sys.stdin:
        number = int(line[1:])
        if line[0] == "+":
            groups.add(number)
        else:
            groups.discard(number)
    end(groups)
    remove(sockets)


def end(groups: set[int]) -> None:
    """Ask groups to end, and kill those that do not."""
    left = {group for group in groups if told(group, signal.SIGTERM)}
    until = time.monotonic() + GRACE_S
    while left and time.monotonic() < until:
        time.sleep(0.05)
        left = {group for group in left if told(group, 0)}
    for group in left:
        told(group, signal.SIGKILL)


def told(group: int, number: int) -> bool:
    """Send a signal; return whether anybody was there."""
    try:
        os.killpg(group, number)
    except OSError:
        return False
    return True


def remove(folder: str) -> None:
    """Remove a folder of sockets, unless its owner has."""
    try:
        for name in os.listdir(folder):
            os.unlink(os.path.join(folder, name))
        os.rmdir(folder)
    except OSError:
        pass  # it is gone, or somebody keeps something there


if __name__ == "__main__":
    main(sys.argv[1])
