"""One command line: a command, or the reply that refuses it. Pure.

Strategy: the line arrives whole, with its line end. What is not in the grammar is refused; nothing is
repaired, so no two readers can disagree about what a line means.

The grammar of addresses is narrower than RFC 5321's on purpose (rules SMTP-10, PRIV-07). An address becomes one
argument of a mailer, a line in a spool file, and part of a log line. So: printable ASCII without blanks, quotes,
commas, brackets or backslashes; nothing in front that a mailer could take for an option, a program, a file or
an include (`-`, `|`, `/`, `:`, `~`); no pipes and no back quotes anywhere. Quoted local parts are refused (553).
"""

from . import limit, reply
from .reply import Reply

VERBS = frozenset((b"HELO", b"EHLO", b"MAIL", b"RCPT", b"DATA", b"RSET", b"NOOP", b"QUIT", b"VRFY"))
# Known to RFC 5321 or to history, and not done here: 502 tells a client that it spelled the command right.
NOT_DONE = frozenset(
    (b"EXPN", b"HELP", b"TURN", b"SEND", b"SOML", b"SAML", b"ETRN", b"AUTH", b"STARTTLS", b"BDAT", b"VERB", b"ONEX")
)
# A web page inside the firewall can make a browser send SMTP commands as the body of its request: no word more with it.
WEB_METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"CONNECT"))

_ALPHANUMERIC = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_LOCAL = _ALPHANUMERIC + b"!#$%&'*+-/=?^_{}~."  # RFC 5321 atext and the dot, without ` and |
_LOCAL_NEVER_FIRST = b"-/.~"
_DOMAIN = _ALPHANUMERIC + b"-._"
_LITERAL = _ALPHANUMERIC + b"-.:"
_BLANKS = b" \t"


class Command:
    """A verb of VERBS and its argument: the client's name, an address without brackets, or nothing."""

    __slots__ = ("argument", "verb")

    def __init__(self, verb: bytes, argument: bytes = b"") -> None:
        self.verb = verb
        self.argument = argument

    def __repr__(self) -> str:
        return f"Command({self.verb!r}, {self.argument!r})"


def parse(line: bytes) -> Command | Reply:
    """Read one command line, line end included (RFC 5321 4.1.1), or the beginning of one that is too long."""
    if line.removesuffix(b"\r\n").partition(b" ")[0].upper() in WEB_METHODS:  # however long: the page chooses the path
        return reply.NOT_SMTP
    if len(line) > limit.COMMAND_LINE_BYTES_MAX:
        return reply.LINE_TOO_LONG
    if not line.endswith(b"\r\n"):
        return reply.BARE_LINE_END
    text = line[:-2]
    if b"\r" in text or b"\0" in text:
        return reply.NOT_RECOGNIZED
    verb, _, argument = text.rstrip(_BLANKS).partition(b" ")
    verb = verb.upper()
    if verb not in VERBS:
        return reply.NOT_IMPLEMENTED if verb in NOT_DONE else reply.NOT_RECOGNIZED
    return _with_argument(verb, argument.lstrip(_BLANKS))


def _with_argument(verb: bytes, argument: bytes) -> Command | Reply:
    if verb in (b"MAIL", b"RCPT"):
        return _path(verb, argument)
    if verb in (b"HELO", b"EHLO"):
        return Command(verb, argument) if _is_hello(argument) else reply.HELLO_SYNTAX
    if verb in (b"DATA", b"RSET", b"QUIT") and argument:
        return reply.NO_ARGUMENT
    return Command(verb)


def _path(verb: bytes, argument: bytes) -> Command | Reply:
    """`FROM:<address>` or `TO:<address>` (RFC 5321 4.1.1.2, 4.1.1.3)."""
    prefix, syntax = (b"FROM:", reply.MAIL_SYNTAX) if verb == b"MAIL" else (b"TO:", reply.RCPT_SYNTAX)
    if argument[: len(prefix)].upper() != prefix:
        return syntax
    path = argument[len(prefix) :].lstrip(_BLANKS)
    if not path.startswith(b"<"):
        return syntax
    address, close, parameters = path[1:].partition(b">")
    if not close or (parameters and parameters[:1] != b" "):
        return syntax
    if parameters:
        return reply.PARAMETERS_REFUSED
    if not address:
        return Command(verb) if verb == b"MAIL" else reply.ADDRESS_REFUSED
    mailbox = _without_route(address)
    return Command(verb, mailbox) if is_mailbox(mailbox) else reply.ADDRESS_REFUSED


def _without_route(address: bytes) -> bytes:
    """Strip a source route, as RFC 5321 appendix C asks; a broken one is left, and refused as a mailbox."""
    if not address.startswith(b"@"):
        return address
    route, colon, mailbox = address.partition(b":")
    hops = [hop[1:] for hop in route.split(b",") if hop.startswith(b"@") and _is_domain(hop[1:])]
    return mailbox if colon and len(hops) == route.count(b",") + 1 else address


def is_mailbox(address: bytes) -> bool:
    """Whether `address` is one we take: local@domain, or a local part alone (`postmaster`, a user inside)."""
    local, at, domain = address.partition(b"@")
    if not local or len(local) > limit.LOCAL_PART_BYTES_MAX or _strip_all(local, _LOCAL):
        return False
    if local[0] in _LOCAL_NEVER_FIRST or local.endswith(b".") or b".." in local:
        return False
    return not at or _is_domain(domain)


def _is_domain(domain: bytes) -> bool:
    if not domain or len(domain) > limit.DOMAIN_BYTES_MAX:
        return False
    if domain.startswith(b"[") and domain.endswith(b"]"):
        literal = domain[1:-1]
        return bool(literal) and not _strip_all(literal, _LITERAL)
    return not _strip_all(domain, _DOMAIN) and domain[0] not in b"-." and b".." not in domain


def _is_hello(argument: bytes) -> bool:
    return len(argument) <= limit.HELLO_BYTES_MAX and _is_domain(argument)


def _strip_all(text: bytes, allowed: bytes) -> bytes:
    """What is left of `text` without the allowed bytes."""
    return text.translate(None, allowed)
