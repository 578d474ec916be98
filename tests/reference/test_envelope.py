"""The heading of a spool file: what goes in comes out, and whatever else stands in a file is a HeadingError."""

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from playing import cut
from smap_reference import limit
from smap_reference.envelope import Heading, HeadingError, encode, is_inert, size_bytes

PRINTABLE = bytes(range(0x21, 0x7F))
ADDRESSES = st.lists(st.sampled_from(sorted(PRINTABLE)), min_size=1, max_size=40).map(bytes).filter(is_inert)
SENDERS = ADDRESSES.filter(lambda address: address != b"<>") | st.just(b"")
PLACES = st.lists(st.integers(0, 400), max_size=12)
LONGEST = limit.LOCAL_PART_BYTES_MAX + 1 + limit.DOMAIN_BYTES_MAX


def read(pieces: list[bytes]) -> tuple[bytes, list[bytes], int]:
    """Sender, recipients and the offset of the body. Raises HeadingError."""
    heading = Heading()
    for piece in [*filter(None, pieces), b""]:  # no bytes mean the end of the file
        if heading.feed(piece):
            break
    return heading.sender, heading.recipients, heading.body_offset


def judged(pieces: list[bytes]) -> tuple[bytes, list[bytes], int] | str:
    try:
        return read(pieces)
    except HeadingError as error:
        return str(error)


@given(SENDERS, st.lists(ADDRESSES, min_size=1, max_size=6), st.binary(max_size=40), PLACES)
def test_what_smap_writes_smapd_reads(sender: bytes, recipients: list[bytes], body: bytes, places: list[int]) -> None:
    heading = encode(sender, recipients)
    file = heading + body
    assert read(list(cut(file, places))) == (sender or b"<>", recipients, len(heading))
    assert len(heading) == sum(map(size_bytes, [sender, *recipients])) + len(b"BODY\n")


@given(SENDERS, st.lists(ADDRESSES, min_size=1, max_size=3))
def test_a_heading_never_begins_with_what_a_kernel_would_execute(sender: bytes, recipients: list[bytes]) -> None:
    assert encode(sender, recipients).startswith(b"FROM ")


LINES = st.sampled_from([
    b"FROM a@x\n", b"FROM <>\n", b"RCPT b@x\n", b"RCPT <>\n", b"BODY\n", b"BODY", b"RCPT -q\n", b"RCPT a b\n",
    b"RCPT \n", b"FROM\n", b"\n", b"\r\n", b"\0", b"#!/bin/sh\n", b"FROM a@x\r\n", b"FROM " + b"x" * 400,
    b"x" * 326, b"rcpt a\n",
])  # fmt: skip


@given(st.lists(LINES | st.binary(max_size=8), max_size=10).map(b"".join) | st.binary(max_size=100), PLACES)
@example(b"", [])
@example(b"FROM a@x\nRCPT " + b"x" * (LONGEST + 1) + b"\nBODY\n", [])
@example(b"x" * 327 + b"\n", [])
@example(b"x" * 326 + b"\n", [326])
def test_any_file_is_read_or_refused_the_same_way_however_it_is_cut(file: bytes, places: list[int]) -> None:
    whole = judged([file])
    assert judged(list(cut(file, places))) == whole
    assert judged([bytes([byte]) for byte in file]) == whole
    if isinstance(whole, str):
        assert whole.startswith("line ")
        assert "\n" not in whole
        return
    sender, recipients, offset = whole
    assert sender == b"<>" or is_inert(sender)
    assert recipients
    assert all(map(is_inert, recipients))
    assert encode(b"" if sender == b"<>" else sender, recipients) == file[:offset]


FROM, RCPT, BODY = b"FROM a@x\n", b"RCPT b@x\n", b"BODY\n"
BROKEN = {
    b"": "line 1: the file ends inside its heading",
    b"FROM a@x": "line 1: the file ends inside its heading",
    FROM + RCPT: "line 3: the file ends inside its heading",
    FROM + RCPT + b"BODY": "line 3: the file ends inside its heading",
    FROM + BODY: "line 2: no recipient before BODY",
    BODY: "line 1: FROM expected, found b'BODY'",
    RCPT + FROM + BODY: "line 1: FROM expected, found b'RCPT b@x'",
    b"from a@x\n": "line 1: FROM expected, found b'from a@x'",
    FROM + FROM + RCPT: "line 2: RCPT expected, found b'FROM a@x'",
    FROM + b"\n" + RCPT: "line 2: RCPT expected, found b''",
    FROM + RCPT + b"BODY\r\n": "line 3: RCPT expected, found b'BODY\\r'",
    b"FROM \n": "line 1: not an address that can be handed to a mailer: b'FROM '",
    b"FROM -bd\n": "line 1: not an address that can be handed to a mailer: b'FROM -bd'",
    b"FROM a@x\r\n": "line 1: not an address that can be handed to a mailer: b'FROM a@x\\r'",
    FROM + b"RCPT -q\n": "line 2: not an address that can be handed to a mailer: b'RCPT -q'",
    FROM + b"RCPT |/bin/sh\n": "line 2: not an address that can be handed to a mailer: b'RCPT |/bin/sh'",
    FROM + b"RCPT /tmp/x\n": "line 2: not an address that can be handed to a mailer: b'RCPT /tmp/x'",
    FROM + b"RCPT :include:/x\n": "line 2: not an address that can be handed to a mailer: b'RCPT :include:/x'",
    FROM + b"RCPT ~root\n": "line 2: not an address that can be handed to a mailer: b'RCPT ~root'",
    FROM + b"RCPT a,root\n": "line 2: not an address that can be handed to a mailer: b'RCPT a,root'",
    FROM + b"RCPT a b\n": "line 2: not an address that can be handed to a mailer: b'RCPT a b'",
    FROM + b"RCPT a\0b\n": "line 2: not an address that can be handed to a mailer: b'RCPT a\\x00b'",
    FROM + b"RCPT caf\xe9\n": "line 2: not an address that can be handed to a mailer: b'RCPT caf\\xe9'",
    FROM + b"RCPT " + b"x" * (LONGEST + 1) + b"\n": "line 2: longer than any address",
    b"\0" * 4096: "line 1: longer than any address",
    b"FROM " + b"x" * LONGEST: "line 1: the file ends inside its heading",
    b"FROM " + b"x" * (LONGEST + 1): "line 1: longer than any address",
}  # fmt: skip


@pytest.mark.parametrize("file", BROKEN, ids=lambda file: repr(file[:30]))
def test_a_broken_heading_says_where_and_why(file: bytes) -> None:
    assert judged([file]) == BROKEN[file]
    assert judged([bytes([byte]) for byte in file]) == BROKEN[file]


@pytest.mark.parametrize("size", range(LONGEST - 2, LONGEST + 1))
def test_the_longest_address_is_read(size: int) -> None:
    address = b"x" * size
    assert read([encode(address, [address])])[:2] == (address, [address])


def test_a_heading_is_as_long_as_smap_lets_it_be(monkeypatch: pytest.MonkeyPatch) -> None:
    file = FROM + RCPT * 3 + BODY + b"text"
    bound = len(FROM + RCPT * 3)
    for places in itertools.combinations(range(len(file)), 2):
        monkeypatch.setattr(limit, "HEADING_BYTES_MAX", bound)
        assert judged(list(cut(file, places))) == (b"a@x", [b"b@x"] * 3, len(file) - 4)
        monkeypatch.setattr(limit, "HEADING_BYTES_MAX", bound - 1)
        assert judged(list(cut(file, places))) == f"line 4: the heading is over {bound - 1} bytes"


@pytest.mark.parametrize(
    "address", [b"", b"-q", b"|x", b"/x", b":x", b"~x", b"a,b", b"a b", b"a\tb", b"a\n", b"a\0", b"\xe9"]
)
def test_an_address_that_acts_is_not_written(address: bytes) -> None:
    assert not is_inert(address)
    with pytest.raises(AssertionError, match="an address that acts"):
        encode(b"s@a", [b"r@b", address])
    if address:  # as a sender that is the null reverse-path
        with pytest.raises(AssertionError, match="an address that acts"):
            encode(address, [b"r@b"])


def test_a_message_for_nobody_is_not_written() -> None:
    with pytest.raises(AssertionError, match="a message has recipients"):
        encode(b"s@a", [])


@pytest.mark.parametrize("byte", range(256))
def test_which_bytes_are_inert(byte: int) -> None:
    letter = bytes([byte])
    assert is_inert(b"a" + letter) == (letter in PRINTABLE and letter != b",")
    assert is_inert(letter + b"a") == (letter in PRINTABLE and letter not in b",-|/:~")
