"""smap as a real process: its jail, its refusals, its limits, one session and many."""

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import USER, Installation, to_end, until

ENVELOPE = b"MAIL FROM:<s@a.example>\r\nRCPT TO:<alice@localhost>\r\nDATA\r\n"
MAIL = b"HELO c.example\r\n" + ENVELOPE + b"Subject: one\r\n\r\nfirst\r\n.\r\n"


def codes(replies: bytes) -> list[int]:
    return [int(line[:3]) for line in replies.splitlines()]


def files(directory: Path) -> dict[str, int]:
    return {path.name: path.lstat().st_mode & 0o7777 for path in sorted(directory.iterdir())}


def gathering(place: Installation) -> tuple[socket.socket, "subprocess.Popen[bytes]", Path]:
    """A session in the middle of a message, and its spool file."""
    client, smap = place.session()
    client.sendall(b"HELO c.example\r\n" + ENVELOPE + b"half a message\r\n" * 9)
    return (
        client,
        smap,
        until("a spool file", lambda: next((p for p in place.spool.iterdir() if p.stat().st_size > 99), None)),
    )


def test_a_session(place: Installation) -> None:
    client, smap = place.session()
    client.sendall(MAIL + b"QUIT\r\n")
    assert codes(to_end(client)) == [220, 250, 250, 250, 354, 250, 221]
    assert smap.wait() == 0
    assert list(files(place.spool).values()) == [0o755]


def test_what_it_is_while_it_serves(place: Installation) -> None:
    client, smap, file = gathering(place)
    proc = Path(f"/proc/{smap.pid}")
    status = dict(line.split(":", 1) for line in (proc / "status").read_text(encoding="ascii").splitlines())
    uid = int(subprocess.run(["id", "-u", USER], capture_output=True, check=True).stdout)
    assert {int(word) for word in status["Uid"].split()} == {uid}
    assert 0 not in {int(word) for word in status["Gid"].split()}
    assert status["Groups"].split() == []
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    assert os.readlink(proc / "root") == os.readlink(proc / "cwd") == str(place.spool)
    descriptors = {int(fd.name): os.readlink(fd) for fd in (proc / "fd").iterdir()}
    sockets = {fd for fd, target in descriptors.items() if target.startswith("socket:")}
    assert {0, 1, 2} <= sockets
    assert [target for fd, target in descriptors.items() if fd not in sockets] == [f"/{file.name}"] or [
        target for fd, target in descriptors.items() if fd not in sockets
    ] == [str(file)]
    client.close()
    assert smap.wait() == 0


def test_the_file_is_locked_for_both_schools_while_it_grows_and_gone_with_the_client(place: Installation) -> None:
    client, smap, file = gathering(place)
    assert file.stat().st_mode & 0o7777 == 0o644
    with file.open("rb+") as other:
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(BlockingIOError):
            fcntl.lockf(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    client.close()
    assert smap.wait() == 0
    assert files(place.spool) == {}


def test_a_umask_changes_nothing(place: Installation) -> None:
    client, smap = place.session(umask=0o777)
    client.sendall(MAIL + b"QUIT\r\n")
    assert 451 not in codes(to_end(client))
    assert smap.wait() == 0
    assert list(files(place.spool).values()) == [0o755]


def test_sigterm_ends_a_session_and_leaves_the_file_partial(place: Installation) -> None:
    _, smap, file = gathering(place)
    smap.send_signal(signal.SIGTERM)
    assert smap.wait() == -signal.SIGTERM
    assert files(place.spool) == {file.name: 0o644}


@pytest.mark.parametrize(
    ("clauses", "status"),
    [
        pytest.param({"directory": "/nonexistent"}, 78, id="no such directory"),
        pytest.param({"directory": "/proc"}, 78, id="a directory it cannot write to"),
        pytest.param({"directory": None}, 78, id="no directory"),
        pytest.param({"userid": "no-such-user"}, 78, id="no such user"),
        pytest.param({"userid": "root"}, 78, id="root"),
        pytest.param({"userid": "0"}, 78, id="root by number"),
        pytest.param({"userid": None}, 78, id="no user"),
        pytest.param({"maxbytes": "-1"}, 78, id="a negative number"),
        pytest.param({"timeout": "soon"}, 78, id="no number"),
        pytest.param({"maxbite": "1"}, 78, id="an unknown clause"),
    ],
)
def test_a_table_of_no_use_takes_no_mail(place: Installation, clauses: dict[str, object], status: int) -> None:
    place.table(smap=clauses)
    client, smap = place.session()
    client.sendall(MAIL)
    assert codes(to_end(client)) == [421]
    assert smap.wait() == status
    assert files(place.spool) == {}


def test_no_table_takes_no_mail(place: Installation) -> None:
    place.table_path.unlink()
    client, smap = place.session()
    assert codes(to_end(client)) == [421]
    assert smap.wait() == 78


def test_arguments_and_no_socket_are_refused(place: Installation) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.create_connection(listening.getsockname()) as client,
    ):
        served, _ = listening.accept()
        with served:
            smap = place.start(place.smap, "-v", stdin=served, stdout=served, stderr=served)
        assert codes(to_end(client)) == [421]
        assert smap.wait() == 64
    started = place.start(place.smap, stderr=subprocess.DEVNULL)
    assert started.wait() == 64


def test_without_the_right_to_chroot_it_takes_no_mail(place: Installation) -> None:
    client, smap = place.session("setpriv", "--bounding-set", "-sys_chroot", "--")
    client.sendall(MAIL)
    assert codes(to_end(client)) == [421]
    assert smap.wait() == 71
    assert files(place.spool) == {}


def test_without_the_right_to_change_users_it_takes_no_mail(place: Installation) -> None:
    client, smap = place.session("setpriv", "--bounding-set", "-setuid", "--")
    client.sendall(MAIL)
    assert codes(to_end(client)) == [421]
    assert smap.wait() == 71


def test_a_silent_client_is_told_and_let_go(place: Installation) -> None:
    place.table(smap={"timeout": 1})
    client, smap = place.session()
    assert codes(to_end(client)) == [220, 421]
    assert smap.wait() == 0


def test_a_dribbling_client_is_let_go_too_and_leaves_nothing(place: Installation) -> None:
    place.table(smap={"timeout": 2})
    client, smap, _ = gathering(place)
    with contextlib.suppress(ConnectionError):
        while smap.poll() is None:
            client.sendall(b"x")
            with contextlib.suppress(subprocess.TimeoutExpired):
                smap.wait(0.05)
    assert smap.wait() == 0
    assert files(place.spool) == {}


def test_a_client_that_never_reads_is_let_go(place: Installation) -> None:
    place.table(smap={"timeout": 2})
    client, smap = place.session()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    client.setblocking(False)
    while smap.poll() is None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            client.send(b"NOOP\r\n" * 4096)
        with contextlib.suppress(subprocess.TimeoutExpired):
            smap.wait(0.01)
    assert smap.wait() == 0


def test_a_file_size_limit_is_a_full_disk(place: Installation) -> None:
    client, smap = place.session("prlimit", "--fsize=65536", "--")
    client.sendall(
        b"HELO c.example\r\n" + ENVELOPE + b"x" * 200000 + b"\r\n.\r\n" + ENVELOPE + b"small\r\n.\r\nQUIT\r\n"
    )
    assert codes(to_end(client)) == [220, 250, 250, 250, 354, 452, 250, 250, 354, 250, 221]
    assert smap.wait() == 0
    assert list(files(place.spool).values()) == [0o755]


# Wait mode


@contextlib.contextmanager
def waiting(place: Installation) -> Iterator[tuple[tuple[str, int], "subprocess.Popen[bytes]"]]:
    """smap on a listening socket, as inetd's wait and systemd's Accept=no hand it over."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        smap = place.start(place.smap, stdin=listening, stdout=listening, stderr=listening)
        yield listening.getsockname(), smap


def test_wait_mode_serves_many_at_a_time(place: Installation) -> None:
    with waiting(place) as (address, smap):
        clients = [place.client(address) for _ in range(20)]
        for client in clients:
            client.sendall(MAIL)
        for client in clients:
            client.sendall(b"QUIT\r\n")
            assert codes(to_end(client)) == [220, 250, 250, 250, 354, 250, 221]
        assert smap.poll() is None
        assert list(files(place.spool).values()) == [0o755] * 20


def test_wait_mode_holds_to_its_bound(place: Installation) -> None:
    place.table(smap={"sessions": 2})
    with waiting(place) as (address, smap):
        first, second, third = (place.client(address) for _ in range(3))
        assert codes(first.recv(512)) == codes(second.recv(512)) == [220]
        children = Path(f"/proc/{smap.pid}/task/{smap.pid}/children")
        assert len(children.read_text(encoding="ascii").split()) == 2
        first.close()  # makes room
        assert codes(third.recv(512)) == [220]


def test_wait_mode_session_has_none_of_its_parents_descriptors(place: Installation) -> None:
    with waiting(place) as (address, smap):
        client = place.client(address)
        assert codes(client.recv(512)) == [220]
        (child,) = Path(f"/proc/{smap.pid}/task/{smap.pid}/children").read_text(encoding="ascii").split()
        kinds = {fd.name: os.readlink(fd) for fd in Path(f"/proc/{child}/fd").iterdir()}
        assert kinds["0"] == kinds["1"] == kinds["2"]
        assert all(target.startswith("socket:") for target in kinds.values())
        assert len(kinds) <= 4  # the client on 0, 1 and 2, and the log where there is one
        assert os.readlink(f"/proc/{child}/root") == str(place.spool)


def test_wait_mode_with_a_table_of_no_use_tells_a_client_and_goes(place: Installation) -> None:
    place.table(smap={"timeout": "soon"})
    with waiting(place) as (address, smap):
        client = place.client(address)
        assert codes(to_end(client)) == [421]
        assert smap.wait() == 78
