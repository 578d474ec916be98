"""What a client's bytes and the replies to them mean: who was accepted, and which reply promises which message.

Strategy: the client's script is known in full, and a receiver answers in order. Each reply is held against the next
thing in the script that asks for one: the connection itself, a command line, the end of the data. Nobody asks the
receiver what it believes.
"""

from __future__ import annotations

from smap_simulator.history import Message

_GREETING, _COMMAND, _DATA, _OVER = "greeting", "command", "data", "over"
_END = b"\r\n.\r\n"


class Dialogue:
    """One session. `sent_bytes` is how much of the script has gone out: nothing beyond it can have been answered."""

    def __init__(self, session: int, script: bytes) -> None:
        self.session = session
        self.messages: list[Message] = []
        self.sent_bytes = 0
        self._script = script
        self._at = 0  # everything before it is answered
        self._state = _GREETING
        self._early = False  # the line at `_at` was answered before it ended
        self._sender: str | None = None
        self._recipients: list[str] = []

    def reply(self, code: int) -> str:
        """Take the next reply: the id of the message that it promises; "" where it promises none."""
        if self._state == _GREETING:
            self._state = _COMMAND
        elif code == 421:  # nothing that is asked after it is answered
            self._state = _OVER
        elif self._state == _COMMAND:
            self._answer(code)
        elif self._state == _DATA:
            return self._answer_data(code)
        return ""

    def _answer(self, code: int) -> None:
        if self._early:
            self._early = False
            self._at = self._line_end() or self._at
        end = self._line_end()
        if not end:
            self._early = self._at < self.sent_bytes
            return
        line = self._script[self._at : end]
        self._at = end
        verb, rest = line[:4].upper(), line[4:]
        if code == 354 and verb == b"DATA":
            self._begin()
        elif code >= 300:
            return
        elif verb in (b"HELO", b"EHLO", b"RSET"):
            self._sender, self._recipients = None, []
        elif verb == b"MAIL":
            self._sender, self._recipients = _address(rest), []
        elif verb == b"RCPT":
            self._recipients.append(_address(rest))

    def _line_end(self) -> int:
        """Where the line at hand ends; 0 while that was not sent."""
        return self._script.find(b"\n", self._at, self.sent_bytes) + 1

    def _begin(self) -> None:
        self._state = _DATA
        start = self._at
        # The CRLF of the DATA line may be the one before the dot: an empty message.
        found = self._script.find(_END, start - 2)
        self._at = found + len(_END) if found >= 0 else len(self._script)
        wire = self._script[start - 2 : found + 2 if found >= 0 else len(self._script)]
        body = wire.replace(b"\r\n.", b"\r\n")[2:]
        self._ended = found >= 0
        name = f"session {self.session} message {len(self.messages) + 1}"
        self.messages.append(Message(name, self._sender or "", tuple(self._recipients), body, self._ended))

    def _answer_data(self, code: int) -> str:
        if not self._ended or self.sent_bytes < self._at:
            return ""  # an answer to an end that was not sent
        self._state = _COMMAND
        self._sender, self._recipients = None, []
        return self.messages[-1].id if 200 <= code < 300 else ""


def _address(rest: bytes) -> str:
    """The address in the argument of MAIL or RCPT, without brackets and route."""
    found = rest[rest.find(b"<") + 1 : rest.rfind(b">")] if b"<" in rest else rest.partition(b":")[2].strip()
    if found.startswith(b"@"):
        found = found.partition(b":")[2]
    return found.decode("latin-1")
