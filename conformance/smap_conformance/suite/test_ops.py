"""OPS: a real inetd, and what the log says afterwards."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from smap_conformance.dialogue import Dialogue
from smap_conformance.expect import codes, exactly, expect, miss, not_measured
from smap_conformance.lab import Lab
from smap_conformance.place import PATH, Place, Session
from smap_conformance.suite.talk import ALICE, BOB, BODY, CLOSING, GO_ON, OK, SENDER, ask, envelope, finish, rows

# inetd under a real one


def free_port() -> int:
    """A port of the loopback on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def real_inetd(place: Place) -> Iterator[int]:
    """A port behind which an installed inetd starts the target with the manual's line; ended with the place."""
    program = shutil.which("inetd", path=PATH)
    if program is None:
        not_measured("no inetd is installed (Debian: openbsd-inetd or inetutils-inetd)")
    if not place.sandbox.means.root:
        not_measured("the manual's line says `root`: run as root")
    port = free_port()
    path, *more = place.command(place.target.smap)
    line = f"127.0.0.1:{port} stream tcp nowait root {path} {' '.join(['smap', *more])}\n"
    configuration = place.root / "inetd.conf"
    configuration.write_text(line, encoding="utf-8")
    inetd = place.sandbox.start([program, "-d", configuration], cwd=place.root, environment=place.environment)
    try:
        yield port
    finally:
        inetd.kill()
        inetd.wait()


def client_of(place: Place, port: int) -> Dialogue:
    """A client's end, once inetd listens."""
    connected: list[socket.socket] = []

    def try_once() -> bool:
        with contextlib.suppress(ConnectionRefusedError):
            connected.append(socket.create_connection(("127.0.0.1", port)))
        return bool(connected)

    place.wait("a real inetd", "to listen on the port of its line", try_once)
    return Dialogue(connected[0], 20.0 * place.scale)


@pytest.mark.rule("OPS-01")
def test_mail_goes_through_a_real_inetd(place: Place) -> None:
    with real_inetd(place) as port:
        for number in (1, 2):
            client = client_of(place, port)
            expect("greeting", client.reply(), codes(220))
            ask(client, b"HELO c.example", OK)
            envelope(client)
            ask(client, b"DATA", GO_ON)
            client.send(BODY + b".\r\n")
            expect("reply to the end of data", client.reply(), OK)
            ask(client, b"QUIT", CLOSING)
            expect("what follows the reply to QUIT", client.read_to_eof(), exactly(b""))
            client.close()
            expect("whole files in the spool", len(place.whole()), exactly(number))


@pytest.mark.rule("OPS-01")
def test_a_stranger_hears_nothing_but_smtp_from_a_smap_that_cannot_start(place: Place) -> None:
    """Under inetd descriptor 2 is the client's socket: what an administrator should read would go to the stranger."""
    with real_inetd(place) as port:
        place.table(smap={"userid": "no-such-user-of-smaplab"})
        client = client_of(place, port)
        reply = client.reply()  # Miss when it is no reply of SMTP
        if reply is not None:
            expect("first words of a smap with a broken table", reply, codes("4xx", "5xx"))
        expect("what follows", client.read_to_eof(), exactly(b""))
        client.close()


# The log


def the_log(place: Place, what: str, words: Mapping[str, tuple[str, ...]]) -> None:
    """Wait until the log holds, for each thing wanted, one of its words (in any letter case)."""

    def missing() -> list[str]:
        text = "\n".join(place.log()).lower()
        return [name for name, some in words.items() if not any(word in text for word in some)]

    try:
        place.wait("the log", f"lines about {what}", lambda: not missing(), within_s=3)
    except AssertionError:
        named = "; ".join(f"{name} ({' or '.join(words[name])})" for name in missing())
        miss(f"the log after {what}", f"lines that name {named}", "; ".join(place.log()) or "(nothing)")


def log_or_not_measured(lab: Lab) -> None:
    """These cases are about nothing else."""
    if not lab.sandbox.means.log:
        not_measured("the log cannot be caught without namespaces")


PEER = ("127.0.0.1",)


@pytest.mark.rule("OPS-02")
def test_each_message_leaves_a_line(lab: Lab) -> None:
    log_or_not_measured(lab)
    with lab.place() as place:
        file = place.gather(b"sender-of-it@a.example", (ALICE, BOB), BODY)
        addresses = {name: (name,) for name in ("sender-of-it@a.example", "alice@localhost", "bob@localhost")}
        the_log(place, "a message", {"its peer": PEER} | addresses)
        smallest = len(BODY.replace(b"\r\n", b"\n"))
        if not any(smallest <= number <= file.size_bytes for line in place.log() for number in numbers(line)):
            what = f"its size, anything between the body's {smallest} bytes and the spool file's {file.size_bytes}"
            miss("the log after a message", what, "; ".join(place.log()))


def numbers(line: str) -> list[int]:
    """The whole numbers of a log line, the time and the process number before its words left out."""
    words = line.partition("]:")[2] or line.partition(": ")[2]
    return [int(word) for word in re.findall(r"(?<![\w.])\d+(?![\w.])", words)]


def syntax(session: Session) -> None:
    """A command that nobody knows."""
    ask(session, b"XYZZY plugh", codes("5xx"))
    finish(session)


def address(session: Session) -> None:
    """A recipient that is refused, if it is."""
    ask(session, b"MAIL FROM:<%s>" % SENDER, OK)
    ask(session, b"RCPT TO:<no(such)mailbox> x y z", codes("5xx"))
    finish(session)


def recipients(session: Session) -> None:
    """One too many."""
    envelope(session, recipients=(ALICE, BOB))
    ask(session, b"RCPT TO:<third@localhost>", codes("4xx", "5xx"))
    finish(session)


def size(session: Session) -> None:
    """A message over maxbytes."""
    envelope(session)
    ask(session, b"DATA", GO_ON)
    session.send(b"0123456789\r\n" * 2_000 + b".\r\n")
    expect("reply to the end of data", session.reply(), codes("5xx"))
    finish(session)


def silence(session: Session) -> None:
    """A client that says no more."""
    envelope(session)
    session.read_to_eof()


def gone(session: Session) -> None:
    """A client that goes away in the middle of its message."""
    envelope(session)
    ask(session, b"DATA", GO_ON)
    session.send(b"Subject: half\r\n")
    session.wait_read()
    session.reset()


REFUSALS: dict[str, tuple[Callable[[Session], None], tuple[str, ...]]] = {
    "an unknown command": (syntax, ("xyzzy",)),
    "a bad recipient": (address, ("no(such)mailbox",)),
    "a recipient over maxrecip": (recipients, ("recipient", "maxrecip", "third@localhost")),
    "a message over maxbytes": (size, ("too large", "too big", "too long", "size", "maxbytes", "limit", "exceed")),
    "the time-out": (silence, ("time", "idle")),
    "a client that went away": (gone, ("reset", "lost", "gone", "closed", "disconnect", "eof", "hang")),
}  # fmt: skip


@pytest.mark.rule("OPS-02")
@pytest.mark.parametrize(("scene", "reasons"), rows(REFUSALS))
def test_each_refusal_leaves_its_reason(lab: Lab, scene: Any, reasons: tuple[str, ...], request: Any) -> None:
    log_or_not_measured(lab)
    with lab.place() as place:
        place.table(smap={"maxrecip": 2, "maxbytes": 10_000, "timeout": 1 if scene is silence else 60})
        session = place.open_session()
        scene(session)
        session.exit_status()
        the_log(place, request.node.callspec.id, {"the peer": PEER, "the reason": reasons})
