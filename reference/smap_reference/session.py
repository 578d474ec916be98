"""The dialogue with one client, as a transition table. Pure: no socket, no clock, no disk.

Strategy: bytes go in by `receive`, actions come out of `step`, one at a time. Two actions ask for something that
can fail, and the session waits for the outcome: after `Begin` the caller answers with `began`, after `Finish`
with `finished`. Everything the client may do, in every state, is a row of TRANSITIONS; what is not in the table
is 503 and changes nothing (rule SMTP-03).

Whose fault: the client's is a refusing reply here; the machine's arrives through `began`, `finished` and `spoil` as
the reply to give; ours is an assertion.
"""

from . import command, envelope, limit, reply
from .command import Command
from .data import Stream
from .reply import Reply

# States of a session
START = "start"  # no HELO yet
GREETED = "greeted"
SENDER = "sender"  # MAIL was taken
RECIPIENTS = "recipients"  # so was a RCPT
GATHERING = "gathering"  # the lines are the message's
ENDED = "ended"

# (state, verb) -> (what is done, state after it unless it refuses)
TRANSITIONS: dict[tuple[str, bytes], tuple[str, str]] = {
    (GREETED, b"MAIL"): ("_mail", SENDER),
    (SENDER, b"RCPT"): ("_rcpt", RECIPIENTS),
    (RECIPIENTS, b"RCPT"): ("_rcpt", RECIPIENTS),
    (RECIPIENTS, b"DATA"): ("_data", GATHERING),
    (START, b"RSET"): ("_forget", START),
}
for _state in (START, GREETED, SENDER, RECIPIENTS):
    TRANSITIONS[_state, b"HELO"] = TRANSITIONS[_state, b"EHLO"] = ("_hello", GREETED)
    TRANSITIONS[_state, b"NOOP"] = ("_noop", _state)
    TRANSITIONS[_state, b"VRFY"] = ("_vrfy", _state)
    TRANSITIONS[_state, b"QUIT"] = ("_quit", ENDED)
    TRANSITIONS.setdefault((_state, b"RSET"), ("_forget", GREETED))


class Say:
    """Send a reply. `about` is what it answers, for the log; empty where nothing was asked."""

    __slots__ = ("about", "reply")

    def __init__(self, answer: Reply, about: bytes = b"") -> None:
        self.reply = answer
        self.about = about


class Begin:
    """Open a spool file for this envelope; `sender` is empty for the null reverse-path. Answer with `began`."""

    __slots__ = ("recipients", "sender")

    def __init__(self, sender: bytes, recipients: list[bytes]) -> None:
        self.sender = sender
        self.recipients = recipients


class Append:
    """Write bytes of the body."""

    __slots__ = ("body",)

    def __init__(self, body: bytes) -> None:
        self.body = body


class Finish:
    """The message is whole: mark it. Answer with `finished`."""

    __slots__ = ()


class Abandon:
    """The message will not be taken: remove its file. The rest of it is still read, and then refused."""

    __slots__ = ()


class Leave:
    """Close the connection; `reason` is for the log."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason


Action = Say | Begin | Append | Finish | Abandon | Leave


class Session:
    """One session. The limits are the clauses of netperm-table; None is no limit."""

    def __init__(self, *, message_bytes_max: int | None = None, recipients_max: int | None = None) -> None:
        self.state = START
        self.hello = b""  # what the client called itself
        self._message_bytes_max = message_bytes_max
        self._recipients_max = recipients_max
        self._refusals = 0
        self._input = bytearray()
        self._skipping = False  # inside a line that was refused for its length
        self._line = b""  # the command in hand
        self._ready: list[Action] = [Say(reply.READY)]
        self._awaited: type[Begin | Finish] | None = None
        self._spoiled: Reply | None = None
        self._forget_message()

    def receive(self, data: bytes) -> None:
        """Take bytes from the client, however they were cut."""
        self._input += data

    def step(self) -> Action | None:
        """The next thing to do; None when more input is needed, or nothing more will come."""
        assert self._awaited is None, "the outcome of the last action is missing"
        while not self._ready:
            if self.state == ENDED or not self._input:
                return None
            if not (self._gather() if self.state == GATHERING else self._command()):
                return None
        action = self._ready.pop(0)
        if isinstance(action, Finish) and self._spoiled is not None:
            self._end_message(self._spoiled)
            return self._ready.pop(0)
        if isinstance(action, Begin | Finish):
            self._awaited = type(action)
        return action

    def began(self, refusal: Reply | None) -> None:
        """The outcome of Begin: the file is open, or the reply that says why not."""
        assert self._awaited is Begin
        self._awaited = None
        if refusal is None:
            self.state = GATHERING
            self._stream = Stream()
            self._ready.append(Say(reply.START_INPUT))
        else:
            self._refuse(refusal)
            self._forget()

    def spoil(self, refusal: Reply) -> None:
        """The message cannot be taken any more; its end will be answered with `refusal`."""
        assert self.state == GATHERING
        self._spoiled = refusal

    def finished(self, refusal: Reply | None) -> None:
        """The outcome of Finish: the message is whole and durable, or the reply that says why not."""
        assert self._awaited is Finish
        self._awaited = None
        self._end_message(refusal)

    # The message

    def _gather(self) -> bool:
        body = self._stream.feed(bytes(self._input))
        self._input.clear()
        self._message_bytes += len(body)
        too_big = self._message_bytes_max is not None and self._message_bytes > self._message_bytes_max
        if too_big and self._spoiled is None:
            self.spoil(reply.TOO_BIG)
            self._ready.append(Abandon())
        if body and self._spoiled is None:
            self._ready.append(Append(body))
        if self._stream.ended:
            self._input += self._stream.rest
            self._ready.append(Finish())
        return bool(self._ready)

    def _end_message(self, refusal: Reply | None) -> None:
        self._line = b"end of data"
        if refusal is None:
            self._ready.append(Say(reply.TAKEN))
        else:
            self._refuse(refusal)
        self._forget()

    def _forget_message(self) -> None:
        self._sender = b""
        self._recipients: list[bytes] = []
        self._heading_bytes = 0
        self._message_bytes = 0
        self._spoiled = None
        self._stream = Stream()

    # The commands

    def _command(self) -> bool:
        """Answer one line of input; False when there is none yet."""
        end = self._input.find(b"\n") + 1
        if not end:
            if len(self._input) > limit.COMMAND_LINE_BYTES_MAX:
                self._line = bytes(self._input)
                self._input.clear()
                if not self._skipping:
                    self._skipping = True
                    self._answer(command.parse(self._line))
            return bool(self._ready)
        line = bytes(self._input[:end])
        del self._input[:end]
        if self._skipping:  # its end, at last; the line was answered when it grew too long
            self._skipping = False
            return True
        self._line = line
        self._answer(command.parse(line))
        return True

    def _answer(self, asked: Command | Reply) -> None:
        if asked is reply.NOT_SMTP:
            self._ready += [Say(reply.NOT_SMTP, self._line), Leave("not SMTP")]
            self.state = ENDED
            return
        if isinstance(asked, Reply):
            self._refuse(asked)
            return
        row = TRANSITIONS.get((self.state, asked.verb))
        if row is None:
            self._refuse(reply.OUT_OF_ORDER)
            return
        action, next_state = row
        answer: Reply | None = getattr(self, action)(asked.argument)
        if answer is None:  # a file must be opened first: `began` goes on from here
            return
        if answer.refuses:
            self._refuse(answer)
            return
        self.state = next_state
        self._ready.append(Say(answer, self._line))
        if next_state == ENDED:
            self._ready.append(Leave("quit"))

    def _refuse(self, refusal: Reply) -> None:
        self._ready.append(Say(refusal, self._line))
        self._refusals += 1
        if self._refusals > limit.REFUSALS_MAX:
            self._ready += [Say(reply.TOO_MANY_REFUSALS, self._line), Leave("too many errors")]
            self.state = ENDED

    def _hello(self, name: bytes) -> Reply:
        self.hello = name
        self._forget_message()
        return reply.HELLO

    def _mail(self, sender: bytes) -> Reply:
        self._sender = sender
        self._heading_bytes = envelope.size_bytes(sender)
        return reply.SENDER_OK

    def _rcpt(self, recipient: bytes) -> Reply:
        if self._recipients_max is not None and len(self._recipients) >= self._recipients_max:
            return reply.TOO_MANY_RECIPIENTS
        heading_bytes = self._heading_bytes + envelope.size_bytes(recipient)
        if heading_bytes > limit.HEADING_BYTES_MAX:
            return reply.TOO_MANY_RECIPIENTS
        self._heading_bytes = heading_bytes
        self._recipients.append(recipient)
        return reply.RECIPIENT_OK

    def _data(self, _: bytes) -> None:
        self._ready.append(Begin(self._sender, self._recipients))

    def _forget(self, _: bytes = b"") -> Reply:
        self._forget_message()
        if self.state != ENDED:  # one refusal too many
            self.state = GREETED
        return reply.OK

    def _noop(self, _: bytes) -> Reply:
        return reply.OK

    def _vrfy(self, _: bytes) -> Reply:
        return reply.NOT_VERIFIED

    def _quit(self, _: bytes) -> Reply:
        return reply.CLOSING
