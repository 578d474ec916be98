"""The DATA stream: where a message ends, and what its body is, however the bytes come in."""

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from model import body_of, stuffed
from playing import cut
from smap_reference.data import Stream

PIECES = st.lists(
    st.sampled_from([b"\r", b"\n", b".", b"\0", b"a", b"\r\n", b"\r\n.", b"\n.\n", b"\r\n.\r"]), max_size=30
)
TEXTS = PIECES.map(b"".join) | st.binary(max_size=60)
PLACES = st.lists(st.integers(0, 80), max_size=8)
END = b"\r\n.\r\n"


def read(pieces: list[bytes]) -> tuple[bytes, bytes] | None:
    """The body, and what follows the end of data; None when there is no end."""
    stream = Stream()
    body = b""
    for number, piece in enumerate(pieces):
        body += stream.feed(piece)
        if stream.ended:
            return body, stream.rest + b"".join(pieces[number + 1 :])
    return None


def test_every_short_text_whole_and_byte_by_byte() -> None:
    for size in range(8):
        for letters in itertools.product((b"\r", b"\n", b".", b"a"), repeat=size):
            text = b"".join(letters)
            assert read([text]) == body_of(text), text
            assert read(list(letters)) == body_of(text), text


@given(TEXTS, PLACES)
@example(b".\r\nrest", [0, 1, 1, 2])
@example(b"\r\n.\r\n", [1, 2, 3, 4])
def test_every_cut_is_the_same_message(text: bytes, places: list[int]) -> None:
    assert read(list(cut(text, places))) == body_of(text)


@given(TEXTS, TEXTS, PLACES)
def test_nothing_but_crlf_dot_crlf_ends_it(head: bytes, tail: bytes, places: list[int]) -> None:
    text = head + tail
    ended = read(list(cut(text, places)))
    assert (ended is not None) == (text.startswith(b".\r\n") or END in text)


@given(st.lists(st.binary(max_size=9).filter(lambda line: b"\n" not in line and not line.endswith(b"\r"))), PLACES)
@example([b".", b"..", b"", b".x", b"FROM x", b"BODY", b"a\rb", b"\0"], [])
def test_what_a_client_stuffs_comes_out(lines: list[bytes], places: list[int]) -> None:
    body = b"".join(line + b"\n" for line in lines)
    assert read(list(cut(stuffed(body) + b"QUIT\r\n", places))) == (body, b"QUIT\r\n")


@given(TEXTS, PLACES)
def test_no_body_byte_waits_longer_than_it_must(text: bytes, places: list[int]) -> None:
    """What is held back is the beginning of an end of data, so the next byte that is none sets it free."""
    stream = Stream()
    body = b"".join(stream.feed(piece) for piece in cut(text, places) if not stream.ended)
    if stream.ended:
        return
    body += stream.feed(b"xy")
    whole = body_of(text + b"xy" + END)
    assert whole is not None
    assert whole[0] == body + b"\n"


def test_all_byte_values_are_kept() -> None:
    every = bytes(range(256))
    assert read([every + END]) == (every + b"\n", b"")


@pytest.mark.parametrize(
    ("sent", "body"),
    [
        (b"..\r\n", b".\n"),
        (b"...\r\n", b"..\n"),
        (b"....\r\n", b"...\n"),
        (b".x\r\n", b"x\n"),
        (b"..x\r\n", b".x\n"),
        (b"a\r\n..\r\nb\r\n", b"a\n.\nb\n"),  # a line that is a lone dot, and what follows it
        (b"a.b\r\n", b"a.b\n"),  # a dot within a line
        (b"a\n.b\r\n", b"a\n.b\n"),  # after a bare LF no line starts
        (b"a\n..b\r\n", b"a\n..b\n"),
        (b"a\r.b\r\n", b"a\r.b\n"),  # nor after a bare CR
        (b".\r\r\n", b"\r\n"),
        (b"\r\n\r\n", b"\n\n"),
    ],
)
def test_dots(sent: bytes, body: bytes) -> None:
    assert read([sent + b".\r\n"]) == (body, b"")
    assert read([bytes([byte]) for byte in sent + b".\r\n"]) == (body, b"")


@pytest.mark.parametrize("size", [998, 1000, 2000, 64 << 10, 1 << 20])
def test_no_newline_is_put_into_a_long_line(size: int) -> None:
    text = b"x" * size + END
    assert read([text]) == (b"x" * size + b"\n", b"")
    assert read(list(cut(text, range(0, size, 60_000)))) == (b"x" * size + b"\n", b"")


def test_a_stream_that_has_ended_takes_no_more() -> None:
    stream = Stream()
    stream.feed(b".\r\n")
    with pytest.raises(AssertionError, match="the message has ended"):
        stream.feed(b"x")
