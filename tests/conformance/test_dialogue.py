"""The suite's client against servers that misbehave: what it takes, and what it calls a miss."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smap_conformance.dialogue import Dialogue, stuffed
from smap_conformance.expect import Miss, Overdue
from smap_conformance.unread import unread_bytes


@contextlib.contextmanager
def connection() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a TCP connection on the loopback: the client's and the server's."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        server, _ = listener.accept()
        with server:
            yield client, server


def said(data: bytes, look: Callable[[Dialogue], object], *, wait_s: float = 20.0, end: bool = True) -> object:
    """What `look` makes of a server that says `data` (and then ends)."""
    with connection() as (client, server):
        server.sendall(data)
        if end:
            server.close()
        return look(Dialogue(client, wait_s))


def test_replies_of_one_and_of_several_lines() -> None:
    found = said(b"220 hello\r\n250-one\r\n250-two\r\n250 three\r\n250\r\n", lambda dialogue: dialogue.replies())
    assert [(reply.code, len(reply.lines)) for reply in found] == [(220, 1), (250, 3), (250, 1)]  # type: ignore[attr-defined]
    assert found[1].text == "one\ntwo\nthree"  # type: ignore[index]


@pytest.mark.parametrize(
    "data",
    [
        b"220 hello\n", b"hello\r\n", b"22 hello\r\n", b"2200 hello\r\n", b"220_hello\r\n", b"\r\n", b"220 a\rb\r\n",
        b"220 " + b"x" * 507 + b"\r\n", b"220 hello", b"250-one\r\n", b"250-one\r\n550 two\r\n", b"x" * 100_000,
    ],
    ids=lambda data: repr(data[:20]),
)  # fmt: skip
def test_what_is_no_smtp_reply_is_a_miss(data: bytes) -> None:
    with pytest.raises(Miss):
        said(data, lambda dialogue: dialogue.reply())


def test_the_longest_reply_is_taken() -> None:
    assert said(b"220 " + b"x" * 506 + b"\r\n", lambda dialogue: dialogue.reply()) is not None


def test_an_end_is_no_reply_and_a_silence_is_overdue() -> None:
    assert said(b"", lambda dialogue: dialogue.reply()) is None
    for look in (Dialogue.reply, Dialogue.read_to_eof):
        with pytest.raises(Overdue):
            said(b"250-one\r\n", look, wait_s=0.05, end=False)
    assert said(b"", lambda dialogue: dialogue.quiet(0.05), end=False) is True
    assert said(b"x", lambda dialogue: dialogue.quiet(5), end=False) is False


def test_a_server_that_takes_nothing_stalls_the_sender_within_the_bound() -> None:
    with connection() as (client, _), pytest.raises(Overdue, match="a stall"):
        Dialogue(client, 0.1).send(bytes(64 << 20))


def test_a_server_that_has_gone_is_no_error_to_the_sender() -> None:
    with connection() as (client, server):
        server.close()
        dialogue = Dialogue(client, 5)
        dialogue.send(b"x" * 10_000_000)
        assert dialogue.was_reset
        assert dialogue.reply() is None


def test_each_slow_segment_is_read_before_the_next() -> None:
    pieces = []
    with connection() as (client, server):

        def read() -> None:
            while piece := server.recv(100):
                pieces.append(piece)

        reader = threading.Thread(target=read)
        reader.start()
        dialogue = Dialogue(client, 5)
        dialogue.send_slowly(b"abcdef", 2)
        dialogue.half_close()
        reader.join(20)
    assert pieces == [b"ab", b"cd", b"ef"]
    assert list(dialogue.transcript.lines()) == ["> abcdef", "! half-close"]


def test_the_kernel_tells_what_lies_unread() -> None:
    with connection() as (client, server):
        assert unread_bytes(client) == 0
        client.sendall(b"12345")
        server.recv(2, socket.MSG_WAITALL)
        assert unread_bytes(client) == 3
        server.recv(3, socket.MSG_WAITALL)
        assert unread_bytes(client) == 0


@given(st.lists(st.sampled_from([b".", b"..", b"x", b".x", b"", b"\0"]), max_size=6))
def test_stuffed_bodies_are_what_a_server_undoes(lines: list[bytes]) -> None:
    body = b"".join(line + b"\r\n" for line in lines)
    wire = stuffed(body)
    assert wire.endswith(b".\r\n")
    ends = [at for at in range(len(wire)) if (b"\r\n" + wire)[at:].startswith(b"\r\n.\r\n")]
    assert ends == [len(wire) - 3]
    undone = [line[1:] if line.startswith(b".") else line for line in wire[:-3].split(b"\r\n")[:-1]]
    assert undone == lines
