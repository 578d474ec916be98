"""Lines of the log: nothing from outside ends one, forges a field of one, or makes one too long."""

import errno
import os
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from smap_reference import limit
from smap_reference.logline import address, addresses, line, printable, reason

NAMES = st.from_regex(r"[a-z]{1,8}", fullmatch=True)
FIELD = re.compile(r' ([a-z_]+)=("[^"]*"|[^ "]+)')
HOSTILE = st.sampled_from(
    [b'"', b" ", b"=", b"\\", b"\n", b"\r\n", b"\0", b"\x1b[31m", b"\x7f", b"\x9b", b" to=<root>", b"<", b">"]
)
OUTSIDE = st.lists(HOSTILE | st.binary(max_size=20), max_size=30).map(b"".join)
TEXTS = st.text('ab =",\\\n\r\t\x1b\x85\xa0\u2028\u202e\u2603')


def harmless(text: str) -> bool:
    return text.isascii() and (text == "" or text.isprintable())


def fields(text: str) -> dict[str, str]:
    """Read a line as a person's script would; every byte of it has to belong to a field."""
    _, blank, rest = text.partition(" ")
    found = list(FIELD.finditer(blank + rest))
    assert "".join(match.group() for match in found) == blank + rest
    return {match[1]: match[2].strip('"') for match in found}


@given(st.dictionaries(NAMES, OUTSIDE.map(os.fsdecode) | st.integers() | TEXTS, max_size=4))
@example({"file": 'x" reason="taken', "reason": "\n"})
def test_a_line_is_its_fields_and_no_others(values: dict[str, object]) -> None:
    text = line("event", **values)
    assert harmless(text)
    assert len(text) <= limit.LOG_LINE_BYTES_MAX
    if len(text) < limit.LOG_LINE_BYTES_MAX:  # a line that was cut ends in the middle of a field
        assert list(fields(text)) == list(values)


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters='"'), max_size=100))
def test_a_plain_value_is_shown_as_it_is(text: str) -> None:
    assert fields(line("event", a=1, value=text, z=2)) == {"a": "1", "value": text, "z": "2"}


@given(OUTSIDE)
@example(b"\r\n" * 50)
@example(b'a"b\\')
def test_bytes_from_outside_are_harmless_short_and_legible(text: bytes) -> None:
    shown = printable(text)
    assert harmless(shown)
    assert '"' not in shown
    assert len(shown) <= 4 * 80
    back = re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes([int(found[1], 16)]), shown.encode())
    assert back == text.rstrip(b"\r\n")[:80]


@given(OUTSIDE.filter(lambda text: text != b"<>"), st.lists(OUTSIDE, max_size=40))
def test_the_longest_line_there_is_stays_within_its_bound(sender: bytes, recipients: list[bytes]) -> None:
    shown = addresses(recipients)
    assert harmless(shown)
    assert len(shown) <= limit.LOG_LINE_BYTES_MAX // 2 + len("...")
    long = "m9999999999.999999.4194304.99"
    text = line(
        "taken",
        file=long,
        peer="f" * 39,
        helo=printable(b"h" * 255),
        sender=address(sender),
        to=shown,
        recipients=10**6,
    )
    assert len(text) <= limit.LOG_LINE_BYTES_MAX


def test_the_fields_that_smap_can_fill_all_fit() -> None:
    """smap takes no address that has to be escaped, so its longest line is known; its last field is there."""
    many = [b"l" * 64 + b"@" + b"d" * 255] * 1000
    name = "m9999999999.999999.4194304.99"
    text = line(
        "taken", file=name, peer="f" * 39, helo=printable(b"h" * 255), sender=address(many[0]), to=addresses(many),
        recipients=500_000, bytes=2**63,
    )  # fmt: skip
    assert text.endswith(f" recipients=500000 bytes={2**63}")
    refused = line("refused", peer="f" * 39, reply="452 " + "t" * 60, line=printable(b"\0" * 2000))
    assert fields(refused)["line"] == "\\x00" * 80


@given(st.lists(st.binary(max_size=30), max_size=30))
def test_addresses_are_all_shown_or_the_rest_is_dots(texts: list[bytes]) -> None:
    shown = addresses(texts)
    whole = ",".join(map(address, texts))
    if len(whole) < limit.LOG_LINE_BYTES_MAX // 2:
        assert shown == whole
    else:
        assert shown.endswith("...")
        assert whole.startswith(shown.removesuffix("..."))


@pytest.mark.parametrize(
    ("text", "shown"),
    [(b"", "<>"), (b"<>", "<>"), (b"a@b", "<a@b>"), (b'a"\n@b', "<a\\x22\\x0a@b>"), (b"a\\b", "<a\\x5cb>")],
)
def test_an_address(text: bytes, shown: str) -> None:
    assert address(text) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("", '""'),
        ("a", "a"),
        ("a b", '"a b"'),
        ('"', "\\x22"),
        ("a\nb", "a\\x0ab"),
        ("caf\xe9", "caf\\xc3\\xa9"),
        (7, "7"),
    ],
)
def test_a_value(value: object, shown: str) -> None:
    assert line("event", value=value) == f"event value={shown}"


def test_a_line_that_is_too_long_is_cut() -> None:
    assert line("kept", file="f" * 5000) == f"kept file={'f' * (limit.LOG_LINE_BYTES_MAX - 10)}"


def test_an_event_alone() -> None:
    assert line("stopped") == "stopped"


def test_reasons() -> None:
    assert reason(OSError(errno.ENOSPC, "No space left on device")) == "No space left on device"
    assert reason(ConnectionResetError()) == "ConnectionResetError"
