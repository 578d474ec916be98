"""The heading of a spool file: encode, decode. Pure.

    FROM sender
    RCPT recipient        one line for each, in the order the client gave them
    BODY
    …the message, to the end of the file

Strategy: the heading comes first, so a file with mode 755 can never begin with `#!` (rule PRIV-07), and its
lines cannot be forged from an address, because an address that could break a line, or that a mailer could
take for something else, is neither encoded nor decoded (`is_inert`). The null reverse-path is `<>`.
"""

from . import limit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

NULL_SENDER = b"<>"

_FROM = b"FROM "
_RCPT = b"RCPT "
_BODY = b"BODY"
_LINE_BYTES_MAX = len(_RCPT) + limit.LOCAL_PART_BYTES_MAX + 1 + limit.DOMAIN_BYTES_MAX + 1
_NEVER_FIRST = b"-|/:~"  # an option, a program, a file, an include, a home directory (rule SMTP-10)
_PRINTABLE = bytes(range(0x21, 0x7F))


class HeadingError(ValueError):
    """The heading cannot be read; the text says where and why."""


def is_inert(address: bytes) -> bool:
    """Whether an address is one harmless argument: printable, no blanks, no commas, nothing that acts in front."""
    printable = bool(address) and not address.translate(None, _PRINTABLE)
    return printable and b"," not in address and address[0] not in _NEVER_FIRST


def encode(sender: bytes, recipients: "Sequence[bytes]") -> bytes:
    """The heading for a message; `sender` is empty for the null reverse-path."""
    assert recipients, "a message has recipients"
    assert all(map(is_inert, [*recipients, sender or b"@"])), "an address that acts"
    lines = [_FROM + (sender or NULL_SENDER)]
    lines += [_RCPT + recipient for recipient in recipients]
    lines += [_BODY, b""]
    return b"\n".join(lines)


def size_bytes(address: bytes) -> int:
    """What one more address adds to the heading; the null reverse-path too, which is empty here."""
    return len(_RCPT) + len(address or NULL_SENDER) + 1


class Heading:
    """Reads a heading piece by piece. Once `feed` has returned True, sender, recipients and body_offset are known."""

    __slots__ = ("_line_number", "_text", "body_offset", "recipients", "sender")

    def __init__(self) -> None:
        self._text = b""
        self._line_number = 0
        self.body_offset = 0  # bytes from the start of the file
        self.sender = b""
        self.recipients: list[bytes] = []

    def feed(self, data: bytes) -> bool:
        """Take the next bytes of the file; no bytes mean its end. Raises HeadingError."""
        if not data:
            raise HeadingError(f"line {self._line_number + 1}: the file ends inside its heading")
        self._text += data
        start = 0
        while (end := self._text.find(b"\n", start)) >= 0:
            line = self._text[start:end]
            start = end + 1
            self._line_number += 1
            self._must_fit(line, start)
            if self._take(line):
                self.body_offset += start
                return True
        self.body_offset += start
        self._text = self._text[start:]
        if len(self._text) >= _LINE_BYTES_MAX:
            raise HeadingError(f"line {self._line_number + 1}: longer than any address")
        return False

    def _must_fit(self, line: bytes, end: int) -> None:
        """Hold a line against the bounds that smap keeps; line by line, so that the reads' sizes decide nothing."""
        if len(line) >= _LINE_BYTES_MAX:
            raise HeadingError(f"line {self._line_number}: longer than any address")
        if line != _BODY and self.body_offset + end > limit.HEADING_BYTES_MAX:
            raise HeadingError(f"line {self._line_number}: the heading is over {limit.HEADING_BYTES_MAX} bytes")

    def _take(self, line: bytes) -> bool:
        if self._line_number == 1:
            self.sender = self._address(line, _FROM, allow_null=True)
        elif line == _BODY:
            if not self.recipients:
                raise HeadingError(f"line {self._line_number}: no recipient before BODY")
            return True
        else:
            self.recipients.append(self._address(line, _RCPT))
        return False

    def _address(self, line: bytes, word: bytes, *, allow_null: bool = False) -> bytes:
        if not line.startswith(word):
            raise HeadingError(f"line {self._line_number}: {word.decode()}expected, found {line[:40]!r}")
        address = line[len(word) :]
        if allow_null and address == NULL_SENDER:
            return address
        if not is_inert(address):
            raise HeadingError(
                f"line {self._line_number}: not an address that can be handed to a mailer: {line[:40]!r}"
            )
        return address
