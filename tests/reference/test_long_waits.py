"""Limits of time beyond what the kernel's calls take: they are waits without an end, and no fault of ours."""

import socket
import subprocess
import sys
import time

import pytest
from smap_reference.netperm import parse
from smap_reference.posix.peer import Peer

NUMBER_MAX = 2**63 - 1


def test_the_clauses_allow_such_numbers() -> None:
    table = f"*: directory /spool\n*: executable /smapd\n*: timeout {NUMBER_MAX}\n*: wakeup {NUMBER_MAX}\n"
    assert parse(table, "table", "smap").timeout_s == NUMBER_MAX
    assert parse(table, "table", "smapd").wakeup_s == NUMBER_MAX


@pytest.mark.parametrize("seconds", [2**31 / 1000, 2**31, NUMBER_MAX])
def test_a_client_is_waited_for(seconds: float) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        peer = Peer(ours)
        theirs.sendall(b"x")
        assert peer.recv(1, time.monotonic() + seconds) == b"x"
        peer.leave()


def test_a_client_that_has_had_its_time_is_not_waited_for() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        peer = Peer(ours)
        theirs.sendall(b"x")
        with pytest.raises(TimeoutError):
            peer.recv(1, time.monotonic())
        peer.leave()


# In a process of its own: it takes whatever child ends.
WAIT = """
import sys, time
from smap_reference.posix.machine import Processes
processes = Processes({})
processes.hold_signals()
pid = processes.spawn(["/bin/cat"], 0)
assert processes.wait(time.monotonic() + float(sys.argv[1])) == (pid, 0)
"""


@pytest.mark.parametrize("seconds", [2**31, NUMBER_MAX])
def test_a_child_is_waited_for(seconds: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", WAIT, str(seconds)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
