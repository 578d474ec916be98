"""A log daemon that comes late, is started anew, or does not read: no line is lost for good, and no mail waits."""

import os
import socket
from collections.abc import Callable, Iterator

import pytest
from own_log import Log
from programs import Installation, to_end, until
from test_smap_start import CODES, MAIL, codes

StartSmapd = Callable[..., int]


def started_anew(log: Log) -> None:
    log.close()
    log.open()


def test_smapd_finds_the_daemon_that_was_started_anew(place: Installation, smapd: StartSmapd, log: Log) -> None:
    pid = smapd(wakeup=3600)
    log.seen(" started ")
    started_anew(log)
    os.kill(pid, 15)
    log.seen(f" smapd[{pid}]: stopped")


def test_smapd_finds_a_daemon_that_was_started_after_it(place: Installation) -> None:
    log = Log(place.root, is_there=False)
    said = place.root / "stderr"
    with said.open("wb") as stderr:
        smapd = place.start(*log.before, place.smapd, stderr=stderr)
    until("its first line", lambda: said.read_text("ascii"))
    log.open()
    smapd.terminate()
    log.seen("stopped")
    log.close()


def test_wait_mode_finds_the_daemon_that_was_started_anew(place: Installation, log: Log) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        place.start(*log.before, place.smap, stdin=listening, stdout=listening, stderr=listening)
        for _ in range(2):
            client = place.client(listening.getsockname())
            client.sendall(MAIL)
            assert codes(to_end(client)) == CODES
            log.seen(" left ")
            log.lines.clear()
            started_anew(log)


@pytest.fixture
def full_pipe() -> Iterator[int]:
    """The end to write to of a pipe that takes nothing more and that nobody reads."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    with open(read_end, "rb"), open(write_end, "wb", buffering=0) as pipe:
        while pipe.write(b"x" * 4096):
            pass
        os.set_blocking(write_end, True)
        yield write_end


def test_a_stderr_that_nobody_reads_stops_no_mail(place: Installation, full_pipe: int) -> None:
    log = Log(place.root, is_there=False)
    client, smap = place.session(*log.before, stderr=full_pipe)
    client.sendall(MAIL)
    assert codes(to_end(client)) == CODES
    assert smap.wait() == 0
