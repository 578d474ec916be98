"""What the starter of smap and smapd may have left them: signals, descriptors, children."""

import signal
import socket
from pathlib import Path

import pytest
from own_log import Log
from own_mailer import Mailer, files, message
from programs import Installation, below, interpreter, state, to_end, until
from test_smap_start import CODES, MAIL, codes

IGNORED = ["env", "--ignore-signal=CHLD"]
BLOCKED = ["env", "--block-signal=CHLD"]


# Signals


def test_smapd_delivers_where_the_end_of_children_was_ignored(place: Installation, log: Log, mailer: Mailer) -> None:
    place.table(smapd={"sendmail": mailer.path, "deliveries": 1})
    for number in range(2):
        message(place, f"m{number}")
    place.start(*log.before, *IGNORED, place.smapd)
    log.seen(" delivered ", times=2)


def test_by_hand_smapd_sees_how_its_mailer_ended(place: Installation, log: Log, mailer: Mailer) -> None:
    place.table(smapd={"sendmail": mailer.path, "mailertime": 1})
    message(place, "one")
    copy = place.start(*log.before, *IGNORED, place.smapd, "one", cwd=place.spool)
    assert copy.wait() == 0
    assert files(place.spool) == set()


def test_wait_mode_sees_its_sessions_end_where_that_was_blocked(place: Installation, log: Log) -> None:
    place.table(smap={"sessions": 1})
    with socket.create_server(("127.0.0.1", 0)) as listening:
        place.start(*log.before, *BLOCKED, place.smap, stdin=listening, stdout=listening, stderr=listening)
        for _ in range(2):
            client = place.client(listening.getsockname())
            client.sendall(MAIL)
            assert codes(to_end(client)) == CODES


def test_an_interrupt_from_the_terminal_is_no_bug(place: Installation, log: Log) -> None:
    client, smap = place.session(*log.before)
    assert codes(client.recv(512)) == [220]
    smap.send_signal(signal.SIGINT)
    assert smap.wait() == -signal.SIGINT
    assert log.lines == []


def test_the_mailer_ignores_nothing(place: Installation, log: Log) -> None:
    seen = place.spool / "seen"
    mailer = place.root / "mailer"
    mailer.write_text(f"#!/bin/sh\ngrep SigIgn: /proc/self/status > {seen}\n", "ascii")
    mailer.chmod(0o755)
    place.table(smapd={"sendmail": mailer})
    message(place, "one")
    place.start(*log.before, "env", "--ignore-signal=ALRM,QUIT,USR1", place.smapd)
    log.seen(" delivered file=one ")
    assert ignored(seen).isdisjoint({signal.SIGALRM, signal.SIGQUIT, signal.SIGUSR1, signal.SIGPIPE})


def ignored(status: Path) -> set[int]:
    """The signals of the line SigIgn of /proc."""
    mask = int(status.read_text("ascii").split()[1], 16)
    return {number for number in range(1, 65) if mask >> number - 1 & 1}


# Descriptors


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-"])
def test_wait_mode_with_closed_descriptors_tells_the_log_and_not_the_client(
    place: Installation, log: Log, closed: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        place.start(*log.before, "sh", "-c", f'exec "$0" {closed}', place.smap, stdin=listening)
        client = place.client(listening.getsockname())
        client.sendall(MAIL)
        assert codes(to_end(client)) == CODES
    log.seen(" taken file=m")


def test_a_descriptor_above_the_limit_is_closed_too(place: Installation, log: Log) -> None:
    lowered = (
        "import os, resource, sys; os.dup2(os.open('/', 0), 700); "
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)); os.execv(sys.argv[1], sys.argv[1:])"
    )
    client, smap = place.session(*log.before, interpreter(), "-c", lowered)
    assert codes(client.recv(512)) == [220]
    assert not Path(f"/proc/{smap.pid}/fd/700").exists()


# Children


def test_wait_mode_counts_no_child_that_is_not_its_own(place: Installation, log: Log) -> None:
    place.table(smap={"sessions": 1})
    # The shell's children become smap's by exec, and end under it.
    script = f'for n in 1 2; do (while [ ! -e {place.root}/go ]; do sleep 0.02; done) & done; exec "$0"'
    with socket.create_server(("127.0.0.1", 0)) as listening:
        smap = place.start(*log.before, "sh", "-c", script, place.smap, stdin=listening)
        first = place.client(listening.getsockname())
        assert codes(first.recv(512)) == [220]
        (place.root / "go").touch()
        until("the strangers to end", lambda: len(below(smap.pid)) == 1)
        second = place.client(listening.getsockname())
        until("smap to sleep", lambda: state(smap.pid) == "S")
        assert len(below(smap.pid)) == 1
        first.close()  # makes room
        assert codes(second.recv(512)) == [220]
