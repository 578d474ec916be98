"""What a session comes to, said the simple way: over all of its input at once, with nothing incremental.

It shares `command.parse` and the replies with the reference, which have tests of their own, and neither its table,
its buffers nor its DATA stream.
"""

from playing import NO_FAULTS, Faults, Message, Transcript
from smap_reference import command, limit, reply
from smap_reference.command import Command
from smap_reference.reply import Reply

END = b"\r\n.\r\n"


def body_of(text: bytes) -> tuple[bytes, bytes] | None:
    """The body at the beginning of what follows 354, and what comes after it; None while it has no end."""
    lined = b"\r\n" + text  # the line end of the DATA command is the first of the message's
    end = lined.find(END)
    if end < 0:
        return None
    return unstuffed(lined[:end].removeprefix(b"\r\n") + (b"\r\n" if end else b"")), lined[end + len(END) :]


def unstuffed(text: bytes) -> bytes:
    """Lines that end in CRLF, as a spool file has them."""
    return b"\n".join(line.removeprefix(b".") for line in text.split(b"\r\n"))


def stuffed(body: bytes) -> bytes:
    """How a client sends a body of a spool file (RFC 5321 4.5.2); what is not a line any more gets its line end."""
    lines = body.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    return b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines) + b".\r\n"


class Model:
    """The same arguments as `playing.play`, and the same transcript."""

    def __init__(self, faults: Faults, message_bytes_max: int | None, recipients_max: int | None) -> None:
        assert message_bytes_max is None or not faults.append, "which comes first depends on how the input is cut"
        self.seen = Transcript([reply.READY])
        self._faults = faults
        self._bytes_max = message_bytes_max
        self._recipients_max = recipients_max
        self._greeted = False
        self._sender: bytes | None = None
        self._recipients: list[bytes] = []
        self._begun = 0
        self._refused = 0

    def run(self, data: bytes) -> Transcript:
        while data and not self.seen.left:
            line, newline, rest = data.partition(b"\n")
            if not newline and len(line) <= limit.COMMAND_LINE_BYTES_MAX:
                break
            asked = command.parse(line + newline)
            begins = isinstance(asked, Command) and asked.verb == b"DATA" and bool(self._recipients)
            if not begins:
                self._say(self._answer(asked))
            elif self._begin():
                ended = body_of(rest)
                if ended is None:
                    break
                body, rest = ended
                self._end(body)
            data = rest
        return self.seen

    def _say(self, said: Reply) -> None:
        self.seen.replies.append(said)
        if said is reply.CLOSING:
            self.seen.left = "quit"
        elif said is reply.NOT_SMTP:
            self.seen.left = "not SMTP"
        elif said.code >= 400:
            self._refused += 1
            if self._refused > limit.REFUSALS_MAX:
                self.seen.replies.append(reply.TOO_MANY_REFUSALS)
                self.seen.left = "too many errors"

    def _answer(self, asked: Command | Reply) -> Reply:
        if isinstance(asked, Reply):
            return asked
        said = {b"NOOP": reply.OK, b"VRFY": reply.NOT_VERIFIED, b"QUIT": reply.CLOSING}.get(
            asked.verb, reply.OUT_OF_ORDER
        )
        if asked.verb in (b"HELO", b"EHLO", b"RSET"):
            self._greeted |= asked.verb != b"RSET"
            self._sender, self._recipients = None, []
            return reply.OK if asked.verb == b"RSET" else reply.HELLO
        if asked.verb == b"MAIL" and self._greeted and self._sender is None:
            self._sender = asked.argument
            return reply.SENDER_OK
        if asked.verb == b"RCPT" and self._sender is not None:
            if len(self._recipients) == self._recipients_max:
                return reply.TOO_MANY_RECIPIENTS
            self._recipients.append(asked.argument)
            return reply.RECIPIENT_OK
        return said

    def _begin(self) -> bool:
        refusal = self._faults.begin.get(self._begun)
        self._begun += 1
        self._say(refusal or reply.START_INPUT)
        if refusal:
            self._sender, self._recipients = None, []
        return refusal is None

    def _end(self, body: bytes) -> None:
        number = self._begun - 1
        refusal = self._faults.append.get(number) if body else None
        if self._bytes_max is not None and len(body) > self._bytes_max:
            refusal = reply.TOO_BIG
        refusal = refusal or self._faults.finish.get(number)
        if not refusal:
            assert self._sender is not None
            self.seen.messages.append(Message(self._sender, tuple(self._recipients), body))
        self._sender, self._recipients = None, []
        self._say(refusal or reply.TAKEN)


def expected(
    data: bytes,
    faults: Faults = NO_FAULTS,
    *,
    message_bytes_max: int | None = None,
    recipients_max: int | None = None,
) -> Transcript:
    """The transcript that `playing.play` has to come to, however the data are cut."""
    return Model(faults, message_bytes_max, recipients_max).run(data)
