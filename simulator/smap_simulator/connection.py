"""A client's connection in a simulated world: the bytes both ways, and the client's script played on it.

The client acts as soon as it can, between the calls of the programs; it decides nothing but when a farewell arrives:
after the receiver has read what was sent before and waits for more, or at once. Segments stay apart, so the receiver
reads as the client sent. Bytes that have arrived are read before a reset is noticed, as on Linux. Replies go through a
window that is never full unless the client stops reading.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from smap_simulator import client as script
from smap_simulator.choice import Choice
from smap_simulator.clock import Clock
from smap_simulator.dialogue import Dialogue

INBOUND_BYTES_MAX = 1 << 18
OUTBOUND_BYTES_MAX = 4096  # of a client that does not read


class Connection:
    """What the receiver sees of it."""

    def __init__(self, session: int, address: str) -> None:
        self.session = session
        self.address = address
        self.inbound: deque[bytes] = deque()
        self.inbound_bytes = 0
        self.ended = False  # the client has sent its last byte
        self.reset = False
        self.left = False  # the client has closed: what is still sent to it brings a reset
        self.closed = False  # by the receiver
        self.waiting = False  # the receiver waits for input
        self.unread_bytes = 0  # of replies, by a client that does not read

    def take(self, size_bytes: int) -> bytes:
        """The next bytes that have arrived, from one segment."""
        segment = self.inbound.popleft()
        if len(segment) > size_bytes:
            self.inbound.appendleft(segment[size_bytes:])
            segment = segment[:size_bytes]
        self.inbound_bytes -= len(segment)
        return segment


class Player:
    """Plays a client's steps. `arrived` is called when the receiver has something new to look at."""

    def __init__(
        self, client: script.Client, connection: Connection, choice: Choice, clock: Clock, arrived: Callable[[], None]
    ) -> None:
        self.connection = connection
        self.dialogue = Dialogue(connection.session, sent_by(client))
        self.until_s: float | None = None  # when the client goes on by itself
        self.stalled = False  # it will never do anything again
        self.done = False
        self._choice = choice
        self._clock = clock
        self._arrived = arrived
        self._steps = deque(client.steps)
        self._segments: deque[bytes] = deque()
        self._gap_s = 0.0
        self._replies = 0  # read so far
        self._wanted = 0  # how many the steps so far want read
        self._reading = True
        self._line = b""
        self._leaving_late: bool | None = None

    def hear(self, data: bytes) -> list[tuple[int, str, str]]:
        """Bytes from the receiver: the replies that they complete (code, text, what it promises)."""
        if not self._reading:
            self.connection.unread_bytes += len(data)
        replies = []
        *lines, self._line = (self._line + data).split(b"\r\n")
        for line in lines:
            if line[3:4] == b"-" or not line[:3].isdigit():
                continue
            code = int(line[:3])
            self._replies += 1
            replies.append((code, line[4:].decode("latin-1"), self.dialogue.reply(code)))
        return replies

    def advance(self) -> None:
        """Go on as far as can be gone now."""
        if self.done or self.stalled:
            return
        while self._act():
            pass

    def _act(self) -> bool:
        """One act; False when it must wait."""
        if self.until_s is not None:
            if self._clock.now_s < self.until_s:
                return False
            self.until_s = None
        if self._segments:
            return self._send()
        step = self._steps[0] if self._steps else script.Close()
        if isinstance(step, script.Reset | script.Close):
            return self._leave(reset=isinstance(step, script.Reset))
        if isinstance(step, script.Read) and self._replies < self._wanted + step.replies and not self._is_over():
            return False
        self._begin(self._steps.popleft())
        return not self.stalled

    def _begin(self, step: script.Step) -> None:
        match step:
            case script.Send():
                size = step.chunk_bytes or len(step.data) or 1
                self._segments.extend(step.data[at : at + size] for at in range(0, len(step.data), size))
                self._gap_s = step.gap_s
            case script.Read():
                self._wanted += step.replies
            case script.Pause():
                self.until_s = self._clock.now_s + step.seconds
            case script.Stall():
                self.stalled = True
            case script.StopReading():
                self._reading = False
            case script.HalfClose():
                self.connection.ended = True
                self._arrived()
            case script.Reset() | script.Close():
                raise AssertionError("a farewell is `_leave`")

    def _is_over(self) -> bool:
        return self.connection.closed or self.connection.reset

    def _send(self) -> bool:
        connection = self.connection
        if connection.closed or connection.reset or connection.ended:
            self._segments.clear()
            return True
        segment = self._segments[0]
        if connection.inbound_bytes and connection.inbound_bytes + len(segment) > INBOUND_BYTES_MAX:
            return False
        self._segments.popleft()
        connection.inbound.append(segment)
        connection.inbound_bytes += len(segment)
        self.dialogue.sent_bytes += len(segment)
        if self._gap_s:
            self.until_s = self._clock.now_s + self._gap_s
        self._arrived()
        return True

    def _leave(self, *, reset: bool) -> bool:
        connection = self.connection
        settled = connection.closed or (connection.waiting and not connection.inbound)
        if not settled and self._leaving_late is None:
            self._leaving_late = self._choice.choose(2) == 0
        if not settled and self._leaving_late:
            return False
        connection.ended = connection.left = True
        connection.reset = reset or connection.unread_bytes > 0
        self.done = True
        self._arrived()
        return False


def sent_by(client: script.Client) -> bytes:
    """All that a client will send, if nobody stops it."""
    sent = []
    for step in client.steps:
        match step:
            case script.Send():
                sent.append(step.data)
            case script.HalfClose() | script.Reset() | script.Close() | script.Stall():
                break
            case _:
                pass
    return b"".join(sent)
