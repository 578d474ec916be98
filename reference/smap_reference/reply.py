"""Every reply the receiver can send, each with a name (RFC 5321 4.2). No reply is spelled out elsewhere."""

import errno

_NO_ROOM_ERRNOS = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


class Reply:
    """A code and a text: one line of at most 512 bytes with its CRLF (RFC 5321 4.5.3.1.5)."""

    __slots__ = ("code", "text")

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        self.text = text

    @property
    def refuses(self) -> bool:
        """Whether the command it answers had no effect."""
        return self.code >= 400

    def line(self, host: str) -> bytes:
        """The bytes on the wire; `%` in the text stands for this machine's name."""
        return b"%d %s\r\n" % (self.code, self.text.replace("%", host).encode("ascii", "replace"))


# Positive
READY = Reply(220, "% SMTP smap")
CLOSING = Reply(221, "% closing")
HELLO = Reply(250, "%")
OK = Reply(250, "OK")
SENDER_OK = Reply(250, "Sender OK")
RECIPIENT_OK = Reply(250, "Recipient OK")
TAKEN = Reply(250, "Message taken")  # the promise: sent only by what `spool` returned from
NOT_VERIFIED = Reply(252, "Send some mail, it will be tried")
START_INPUT = Reply(354, "End with CRLF.CRLF")

# The machine's fault: the client may try again
NOT_AVAILABLE = Reply(421, "% not available, try later")
TIMED_OUT = Reply(421, "% no message within the time allowed")
TOO_MANY_REFUSALS = Reply(421, "% too many errors")
NOT_SMTP = Reply(421, "% speaks SMTP only")
LOCAL_ERROR = Reply(451, "Local error, try later")
TOO_MANY_RECIPIENTS = Reply(452, "Too many recipients, send the rest in another message")
NO_ROOM = Reply(452, "No room, try later")

# The client's fault
LINE_TOO_LONG = Reply(500, "Line too long")
BARE_LINE_END = Reply(500, "Lines end with CRLF")
NOT_RECOGNIZED = Reply(500, "Command not recognized")
NO_ARGUMENT = Reply(501, "No argument allowed")
HELLO_SYNTAX = Reply(501, "A domain name or an address literal is needed")
MAIL_SYNTAX = Reply(501, "Syntax: MAIL FROM:<address>")
RCPT_SYNTAX = Reply(501, "Syntax: RCPT TO:<address>")
NOT_IMPLEMENTED = Reply(502, "Command not implemented")
OUT_OF_ORDER = Reply(503, "Command out of order")
TOO_BIG = Reply(552, "Message too big")
ADDRESS_REFUSED = Reply(553, "Address not taken here")
PARAMETERS_REFUSED = Reply(555, "Parameters not recognized")


def refusal(error: OSError) -> Reply:
    """The one place that turns an error of the machine into a reply: always temporary."""
    return NO_ROOM if error.errno in _NO_ROOM_ERRNOS else LOCAL_ERROR
