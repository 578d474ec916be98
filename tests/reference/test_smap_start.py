"""How smap starts as a real process: on which sockets, as whom, from which table, with which log."""

import functools
import os
import resource
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from own_log import Log
from own_mailer import files
from programs import USER, Installation, to_end, until
from smap_reference import posix
from smap_reference.posix import delivering, receiving

ENVELOPE = b"MAIL FROM:<s@a.example>\r\nRCPT TO:<alice@localhost>\r\nDATA\r\n"
MAIL = b"HELO c.example\r\n" + ENVELOPE + b"Subject: one\r\n\r\nfirst\r\n.\r\nQUIT\r\n"
CODES = [220, 250, 250, 250, 354, 250, 221]
# Its own table at the default place: `$0` is the folder that covers it.
COVER = 'mount --bind "$0" /usr/local/etc && exec "$@"'


def codes(replies: bytes) -> list[int]:
    return [int(line[:3]) for line in replies.splitlines()]


def on(place: Installation, ours: socket.socket, its: socket.socket, *before: object, **kept: Any) -> Any:
    """smap on this connected socket; it lets go of ours when the test ends."""
    with its:
        settings: dict[str, Any] = {"stdin": its, "stdout": its, "stderr": its}
        smap = place.start(*before, place.smap, **(settings | kept))
    if ours.fileno() >= 0:
        ours.settimeout(60)
    return smap


# On which sockets


@pytest.mark.parametrize(("client_at", "peer", "literal"), [("::1", "::1", "IPv6:::1"), ("127.0.0.1",) * 3])
def test_a_client_of_either_kind_on_a_socket_for_both(
    place: Installation, log: Log, client_at: str, peer: str, literal: str
) -> None:
    if not socket.has_dualstack_ipv6() or not Path("/proc/net/if_inet6").exists():
        pytest.skip("no IPv6 here")
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listening:
        client = place.client((client_at, listening.getsockname()[1]))
        served, _ = listening.accept()
    on(place, client, served, *log.before)
    client.sendall(MAIL)
    assert codes(to_end(client)) == CODES
    log.seen(f" taken file={files(place.spool).pop()} peer={peer} helo=c.example ")
    (file,) = place.spool.iterdir()
    assert f"Received: from c.example ([{literal}]) by ".encode() in file.read_bytes()


def test_a_client_without_an_address(place: Installation, log: Log) -> None:
    ours, its = socket.socketpair()
    with ours:
        smap = on(place, ours, its, *log.before)
        ours.sendall(MAIL)
        assert codes(to_end(ours)) == CODES
        assert smap.wait() == 0
    log.seen(" peer=unknown ")


def test_a_client_that_is_gone_before_smap_is_there(place: Installation, log: Log) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = place.client(listening.getsockname())
        served, _ = listening.accept()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    until("the reset", lambda: served.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
    with served:
        smap = place.start(*log.before, place.smap, stdin=served, stdout=served, stderr=served)
    assert smap.wait() == 0
    log.seen(" left peer=unknown ")


@pytest.mark.parametrize("stdin", ["pipe", "file", "closed"])
def test_what_is_no_socket_is_refused(place: Installation, log: Log, stdin: str) -> None:
    before = ["sh", "-c", 'exec "$0" <&-'] if stdin == "closed" else []
    settings: dict[str, Any] = {"stdin": subprocess.PIPE if stdin == "pipe" else subprocess.DEVNULL}
    smap = place.start(
        *log.before, *before, place.smap, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **settings
    )
    assert smap.wait() == 64
    if smap.stdin is not None:
        smap.stdin.close()
    log.seen("refused to start: descriptor 0 is no socket")


def test_it_takes_no_arguments(place: Installation, log: Log) -> None:
    ours, its = socket.socketpair()
    with ours, its:
        smap = place.start(*log.before, place.smap, "-d", stdin=its, stdout=its, stderr=its)
        its.close()
        assert codes(to_end(ours)) == [421]
    assert smap.wait() == 64
    log.seen("refused to start: smap takes no arguments")


# As whom


def test_set_uid_it_does_not_believe_its_environment(place: Installation, log: Log) -> None:
    other = place.root / "other"
    etc = place.root / "etc"
    for directory in (other, etc):
        directory.mkdir()
    os.chown(other, *(place.spool.stat().st_uid, place.spool.stat().st_gid))
    (etc / "netperm-table").write_text(f"smap: userid {USER}\nsmap: directory {other}\n", "ascii")
    before = [*log.before, "sh", "-c", COVER, str(etc), "setpriv", "--ruid", USER]
    client, smap = place.session(*before)
    client.sendall(MAIL)
    assert codes(to_end(client)) == CODES
    assert smap.wait() == 0
    assert (len(files(other)), files(place.spool)) == (1, set())


def as_nobody(group: str, *capabilities: str) -> list[str]:
    kept = ",".join(f"+{name}" for name in capabilities)
    more = ["--inh-caps", kept, "--ambient-caps", kept] if kept else []
    return ["setpriv", "--reuid", USER, "--regid", group, "--clear-groups", *more]


def test_an_ordinary_user_who_may_chroot_is_enough(place: Installation, log: Log) -> None:
    place.table(smap={"userid": None})
    client, smap = place.session(*log.before, *as_nobody("65534", "sys_chroot"))
    client.sendall(MAIL)
    assert codes(to_end(client)) == CODES
    assert smap.wait() == 0


@pytest.mark.parametrize(
    ("before", "clauses", "line"),
    [
        (as_nobody("65534"), {"userid": None}, "chroot: Operation not permitted; start smap as root"),
        (as_nobody("0", "sys_chroot"), {}, "still holds privileges of root's after the change"),
        (["setpriv", "--bounding-set", "-setgid"], {}, "Operation not permitted; start the program as root"),
    ],
)
def test_as_whom_it_cannot_serve_it_does_not(
    place: Installation, log: Log, before: list[str], clauses: dict[str, object], line: str
) -> None:
    place.table(smap=clauses)
    client, smap = place.session(*log.before, *before)
    client.sendall(MAIL)
    assert codes(to_end(client)) == [421]
    assert smap.wait() == 71
    assert line in log.seen("refused to start: ")
    assert files(place.spool) == set()


def test_a_directory_that_is_a_file_is_refused(place: Installation, log: Log) -> None:
    place.table(smap={"directory": place.table_path})
    client, smap = place.session(*log.before)
    assert codes(to_end(client)) == [421]
    assert smap.wait() == 78
    assert "Not a directory; create it, owned by userid" in log.seen("refused to start: ")


# With which log


def test_without_a_log_daemon_the_lines_go_to_stderr_and_never_to_the_client(place: Installation) -> None:
    log = Log(place.root, is_there=False)
    said = place.root / "stderr"
    with said.open("wb") as stderr:
        client, smap = place.session(*log.before, stderr=stderr)
        client.sendall(MAIL)
        assert codes(to_end(client)) == CODES
        assert smap.wait() == 0
    taken, left = said.read_text("ascii").splitlines()
    assert taken.startswith("smap: taken file=m")
    assert left == "smap: left peer=127.0.0.1 reason=quit messages=1"
    client, smap = place.session(*log.before)  # stderr is the client's, as under inetd
    client.sendall(MAIL)
    assert codes(to_end(client)) == CODES  # and nothing else
    assert smap.wait() == 0


def test_stderr_that_takes_nothing_stops_no_mail(place: Installation) -> None:
    log = Log(place.root, is_there=False)
    with open("/dev/full", "wb") as full:
        client, smap = place.session(*log.before, stderr=full)
    client.sendall(MAIL)
    assert codes(to_end(client)) == CODES
    assert smap.wait() == 0


def test_a_fault_of_our_own_ends_with_a_line_in_the_log_and_a_partial_file(place: Installation, log: Log) -> None:
    text = place.smap.read_text("utf-8")
    fault = "import smap_reference.session\ndef fault(*_): raise AssertionError('on purpose')\n"
    place.smap.write_text(text.replace("\nmain()", f"\n{fault}smap_reference.session.Session.spoil = fault\n\nmain()"))
    client, smap = place.session(*log.before, "prlimit", "--fsize=65536", "--")
    client.sendall(b"HELO c.example\r\n" + ENVELOPE + b"x" * 200_000 + b"\r\n.\r\n")
    assert 250 not in codes(to_end(client))[4:]
    assert smap.wait() == 70
    place_ = log.seen("internal error at smap:").partition("internal error at ")[2]
    assert place_.endswith("AssertionError: on purpose")


def test_stderr_that_is_closed_is_nobodys(place: Installation, log: Log) -> None:
    client, smap = place.session(*log.before, "sh", "-c", 'exec "$0" 2>&-')
    client.sendall(MAIL)
    assert codes(to_end(client)) == CODES
    assert smap.wait() == 0


def test_a_client_that_is_gone_does_not_change_what_a_table_of_no_use_means(place: Installation, log: Log) -> None:
    place.table_path.unlink()
    ours, its = socket.socketpair()
    ours.close()
    smap = on(place, ours, its, *log.before)
    assert smap.wait() == 78


def test_the_commands_of_the_wheel_lead_to_the_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    monkeypatch.setattr(receiving, "main", lambda: started.append("smap"))
    monkeypatch.setattr(delivering, "main", lambda: started.append("smapd"))
    posix.smap_main()
    posix.smapd_main()
    assert started == ["smap", "smapd"]


# Wait mode


def test_wait_mode_without_a_process_tells_the_log_and_serves_again(place: Installation, log: Log, needs: Any) -> None:
    strace = needs("strace", package="strace")
    forks = "clone,clone3,fork,vfork"
    before = [*log.before, strace, "-D", "-o", "/dev/null", f"-etrace={forks}", f"-einject={forks}:error=EAGAIN:when=1"]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        place.start(*before, place.smap, stdin=listening, stdout=listening, stderr=listening)
        assert to_end(place.client(listening.getsockname())) == b""
        log.seen('error reason="fork: Resource temporarily unavailable"')
        client = place.client(listening.getsockname())
        client.sendall(MAIL)
        assert codes(to_end(client)) == CODES


def test_wait_mode_out_of_descriptors_tells_the_log_and_serves_again(place: Installation, log: Log) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        smap = place.start(*log.before, place.smap, stdin=listening, stdout=listening, stderr=listening)
        for _ in range(2):
            client = place.client(listening.getsockname())
            client.sendall(MAIL)
            assert codes(to_end(client)) == CODES
            before = resource.prlimit(smap.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(smap.pid, resource.RLIMIT_NOFILE, (3, before[1]))
            client = place.client(listening.getsockname())
            log.seen('error reason="accept: Too many open files"')
            resource.prlimit(smap.pid, resource.RLIMIT_NOFILE, before)
            client.sendall(MAIL)
            assert codes(to_end(client)) == CODES


def test_wait_mode_with_a_broken_table_and_a_client_that_has_gone(place: Installation, log: Log, needs: Any) -> None:
    strace = needs("strace", package="strace")
    gone = ["-etrace=accept,accept4", "-einject=accept,accept4:error=ECONNABORTED:when=1"]
    before = [*log.before, strace, "-D", "-o", "/dev/null", *gone]
    place.table(smap={"maxbytes": "many"})
    with socket.create_server(("127.0.0.1", 0)) as listening:
        smap = place.start(*before, place.smap, stdin=listening, stdout=listening, stderr=listening)
        log.seen('error reason="accept: Software caused connection abort"')
        assert smap.wait() == os.EX_CONFIG


def test_wait_mode_with_a_log_on_stderr(place: Installation) -> None:
    """As a supervisor has it: the sessions' lines go where the parent's do."""
    log = Log(place.root, is_there=False)
    said = place.root / "stderr"
    with socket.create_server(("127.0.0.1", 0)) as listening, said.open("wb") as stderr:
        place.start(*log.before, place.smap, stdin=listening, stdout=listening, stderr=stderr)
        for number in range(3):  # one after another, so that the parent takes the end of each
            client = place.client(listening.getsockname())
            client.sendall(MAIL)
            assert codes(to_end(client)) == CODES
            until("the session's last line", functools.partial(has_left, said, number + 1))
    assert said.read_text("ascii").count("smap: taken ") == 3


def has_left(said: Path, times: int) -> bool:
    return said.read_text("ascii").count(" left ") == times
