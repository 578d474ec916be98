"""A raw SMTP client for cases: bytes out, replies in, every wait bounded, every byte on record.

It helps with nothing that a case might want to break: no line ends are added, no dots are stuffed, no order is kept.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from smap_conformance.expect import Miss, Overdue
from smap_conformance.unread import inode_of_the_other_end, unread_bytes

REPLY_LINE = re.compile(rb"([2-5]\d\d)(?:([ -])[^\r\n]*)?\r\n\Z")
REPLY_BYTES_MAX = 512  # RFC 5321 4.5.3.1.5, CRLF included
# No target may make us read for ever, or hold all that it can write.
LINE_BYTES_MAX = 65_536
REPLIES_MAX = 100_000
OUTPUT_BYTES_MAX = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply, of one or more lines; `lines` are as received, line ends included."""

    code: int
    lines: tuple[bytes, ...]

    @property
    def kind(self) -> int:
        """2, 3, 4 or 5."""
        return self.code // 100

    @property
    def text(self) -> str:
        """All lines without their codes, joined by newlines."""
        return "\n".join(line[4:].decode(errors="backslashreplace").rstrip("\r\n") for line in self.lines)

    def __str__(self) -> str:
        return " / ".join(line.decode(errors="backslashreplace").rstrip("\r\n") for line in self.lines)


@dataclass(slots=True)
class Transcript:
    """What went over the wire, in order: (">" to the target, "<" from it, "!" an event) and the bytes."""

    parts: list[tuple[str, bytes]] = field(default_factory=list)

    def add(self, direction: str, data: bytes) -> None:
        if direction != "!" and self.parts and self.parts[-1][0] == direction and len(self.parts[-1][1]) < 4096:
            self.parts[-1] = (direction, self.parts[-1][1] + data)
        else:
            self.parts.append((direction, data))

    def lines(self) -> Iterable[str]:
        """For a person: one line of the wire a line, long ones and long runs shortened."""
        for direction, data in self.parts:
            if direction == "!":
                yield f"! {data.decode()}"
                continue
            pieces = data.splitlines(keepends=True)
            for piece in pieces[:40]:
                text = repr(piece)[2:-1]
                yield f"{direction} {text if len(text) <= 160 else f'{text[:100]} … ({len(piece)} bytes)'}"
            if len(pieces) > 40:
                yield f"{direction} … {len(pieces) - 40} more lines"


class Dialogue:
    """The client's end of one TCP connection to smap."""

    def __init__(self, connection: socket.socket, wait_s: float, transcript: Transcript | None = None) -> None:
        self._socket = connection
        self._wait_s = wait_s
        self._unread = bytearray()
        self.ended = False  # the target closed its side
        self.was_reset = False
        self.transcript = transcript or Transcript()

    def send(self, data: bytes) -> None:
        """Send every byte. Miss when the target takes none for the whole bound; a lost connection is no error here."""
        self.transcript.add(">", data)
        self._socket.settimeout(self._wait_s)
        try:
            self._socket.sendall(data)
        except TimeoutError:
            raise Overdue("sending to smap", "the bytes to be taken", f"a stall of {self._wait_s:g} s") from None
        except (BrokenPipeError, ConnectionResetError):
            self.was_reset = True
            self.transcript.add("!", b"the target closed the connection while we sent")

    def send_slowly(self, data: bytes, chunk_bytes: int = 1) -> None:
        """Send in segments of `chunk_bytes`, each read by the target before the next (as far as the kernel tells)."""
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reads = True
        for start in range(0, len(data), chunk_bytes):
            self.send(data[start : start + chunk_bytes])
            reads = reads and self.wait_read()

    def wait_read(self, within_s: float = 1.0) -> bool:
        """Wait until the target has read all that was sent, as the kernel tells.

        False when it has not within the bound: it may be busy, which is no fault. Segments that are parted by this
        reach the target's read(2) one by one.
        """
        end = time.monotonic() + within_s
        while (waiting := unread_bytes(self._socket)) != 0:
            if waiting is None or time.monotonic() > end:
                return False
            time.sleep(0)
        return True

    def inode_at_the_target(self) -> int | None:
        """The socket that the target serves us on, as /proc/PID/fd names it; None when it is closed."""
        return inode_of_the_other_end(self._socket)

    def send_what_fits(self, data: bytes, stall_s: float = 1.0) -> int:
        """Send until the target has taken no byte for `stall_s`, or has closed; returns how many bytes went.

        For a client that does not read: in the end both buffers are full and nothing moves any more.
        """
        sent = 0
        view = memoryview(data)
        self._socket.settimeout(stall_s)
        try:
            while sent < len(data):
                sent += self._socket.send(view[sent : sent + 65536])
        except TimeoutError:
            self.transcript.add("!", b"%d bytes were sent, no more were taken" % sent)
        except (BrokenPipeError, ConnectionResetError):
            self.was_reset = True
            self.transcript.add("!", b"the target closed the connection while we sent")
        return sent

    def _fill(self, end: float) -> bool:
        """Read some more; False at the end of the target's output. TimeoutError past `end`."""
        if self.ended:
            return False
        self._socket.settimeout(max(0.001, end - time.monotonic()))
        try:
            data = self._socket.recv(65536)
        except ConnectionResetError:
            self.was_reset, data = True, b""
        if not data:
            self.ended = True
            self.transcript.add("!", b"connection reset by the target" if self.was_reset else b"end of file")
            return False
        self.transcript.add("<", data)
        self._unread += data
        return True

    def line(self, wait_s: float | None = None) -> bytes | None:
        """The next line as received, LF included; None at the end of the target's output. Miss when none comes."""
        wait = self._wait_s if wait_s is None else wait_s
        end = time.monotonic() + wait
        while b"\n" not in self._unread:
            if len(self._unread) > LINE_BYTES_MAX:
                wanted = f"a line of at most {REPLY_BYTES_MAX} octets (RFC 5321 4.5.3.1.5)"
                raise Miss("a line from smap", wanted, f"{len(self._unread)} octets without a line end")
            try:
                if not self._fill(end):
                    rest = bytes(self._unread)
                    self._unread.clear()
                    return rest or None
            except TimeoutError:
                raise Overdue("waiting for smap", "a reply", f"none within {wait:g} s") from None
        line, _, rest = bytes(self._unread).partition(b"\n")
        self._unread[:] = rest
        return line + b"\n"

    def reply(self, wait_s: float | None = None) -> Reply | None:
        """The next reply, all its lines; None when the target closed instead. Miss when it is no SMTP reply."""
        lines: list[bytes] = []
        while True:
            if len(lines) > REPLIES_MAX:
                raise Miss("a reply of several lines", "its last line", f"{len(lines)} lines and no end")
            line = self.line(wait_s)
            if line is None:
                if lines:
                    raise Miss("a reply of several lines", "its last line", f"end of file after {lines!r}")
                return None
            found = REPLY_LINE.match(line)
            if not found or len(line) > REPLY_BYTES_MAX:
                wanted = f"three digits, text, CRLF, at most {REPLY_BYTES_MAX} octets (RFC 5321 4.2, 4.5.3.1.5)"
                raise Miss("a line from smap", wanted, repr(line[:600]))
            lines.append(line)
            if line[:3] != lines[0][:3]:
                raise Miss("a reply of several lines", "the same code in each (RFC 5321 4.2.1)", repr(lines[-2:]))
            if found[2] != b"-":
                return Reply(int(found[1]), tuple(lines))

    def replies(self, wait_s: float | None = None) -> list[Reply]:
        """All replies up to the end of the target's output."""
        found = []
        while (reply := self.reply(wait_s)) is not None:
            found.append(reply)
            if len(found) > REPLIES_MAX:
                raise Miss("replies up to the end", "an end", f"{len(found)} replies and no end")
        return found

    def command(self, line: bytes) -> Reply | None:
        """Send the line with CRLF, and read the reply."""
        self.send(line + b"\r\n")
        return self.reply()

    def quiet(self, for_s: float) -> bool:
        """Whether nothing at all comes for that long (an observation, never a proof)."""
        if self._unread:
            return False
        try:
            return not self._fill(time.monotonic() + for_s)
        except TimeoutError:
            return True

    def read_to_eof(self, wait_s: float | None = None) -> bytes:
        """Everything up to the end of the target's output. Miss when it does not end."""
        wait = self._wait_s if wait_s is None else wait_s
        end = time.monotonic() + wait
        with contextlib.suppress(ConnectionResetError):
            try:
                while self._fill(end):
                    if len(self._unread) > OUTPUT_BYTES_MAX:
                        raise Miss("waiting for smap to close", "end of file", f"{len(self._unread)} bytes and no end")
            except TimeoutError:
                raise Overdue("waiting for smap to close", "end of file", f"none within {wait:g} s") from None
        data = bytes(self._unread)
        self._unread.clear()
        return data

    def half_close(self) -> None:
        """Say that no more will come, and go on listening."""
        self.transcript.add("!", b"half-close")
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Drop the connection with a TCP reset."""
        self.transcript.add("!", b"reset")
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def close(self) -> None:
        """Close our end."""
        self._socket.close()


def stuffed(body: bytes) -> bytes:
    """A body of CRLF lines as it goes over the wire: dots doubled at line starts, the final dot appended."""
    wire = (b"." if body.startswith(b".") else b"") + body.replace(b"\r\n.", b"\r\n..")
    return wire + (b"" if not wire or wire.endswith(b"\r\n") else b"\r\n") + b".\r\n"
