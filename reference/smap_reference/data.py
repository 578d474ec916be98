"""The DATA stream: end of data, transparency, line ends. Pure, incremental, in constant memory.

Strategy: CRLF . CRLF ends the message and nothing else does (rule SMTP-05): a bare LF or CR is a byte of the body
like any other, so no other reading of the stream can find a second message in it. A dot at the start of a line
is taken away once (SMTP-06), where a line starts after CRLF only. CRLF becomes LF, the line end of spool files;
bare CR, bare LF and NUL are kept as they are (SMTP-16).

The bytes at the end of what has arrived are held back while they could be the beginning of CRLF . CRLF:
four at the most.
"""

_END = b"\r\n.\r\n"
_END_AT_ONCE = b".\r\n"  # the dot that follows DATA's own CRLF: an empty message


class Stream:
    """One message's way through DATA. `feed` until `ended`; what follows the end is in `rest`."""

    __slots__ = ("_at_start", "_held", "ended", "rest")

    def __init__(self) -> None:
        self._held = b""
        self._at_start = True  # nothing of the body has been given out yet
        self.ended = False
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """Take bytes from the client, return bytes of the body."""
        assert not self.ended, "the message has ended"
        text = self._held + data
        self._held = b""
        if self._at_start and text.startswith(_END_AT_ONCE):
            return self._end(b"", text[len(_END_AT_ONCE) :])
        found = text.find(_END)
        if found >= 0:
            return self._end(self._body(text[: found + 2]), text[found + len(_END) :])
        held = self._ambiguous(text)
        self._held = text[len(text) - held :]
        return self._body(text[: len(text) - held])

    def _end(self, body: bytes, rest: bytes) -> bytes:
        self.ended = True
        self.rest = rest
        return body

    def _ambiguous(self, text: bytes) -> int:
        """How many bytes at the end of `text` may yet be the beginning of the end of data."""
        if self._at_start and len(text) < len(_END_AT_ONCE) and _END_AT_ONCE.startswith(text):
            return len(text)
        for size in range(min(len(_END) - 1, len(text)), 0, -1):
            if text.endswith(_END[:size]):
                return size
        return 0

    def _body(self, text: bytes) -> bytes:
        """Undo transparency and line ends in `text`, which never ends inside CRLF or CRLF dot."""
        if not text:
            return text
        if self._at_start and text.startswith(b"."):
            text = text[1:]
        self._at_start = False
        return text.replace(b"\r\n.", b"\r\n").replace(b"\r\n", b"\n")
