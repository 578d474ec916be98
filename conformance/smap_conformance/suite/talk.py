"""Turns of speech for the SMTP chapters: ask one thing, have a whole exchange, hold replies against a list.

Every failure says what was sent, what would have been acceptable, and what came.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from smap_conformance.dialogue import Dialogue, Reply
from smap_conformance.expect import Acceptable, Miss, codes, expect, shown
from smap_conformance.place import Place, Session

OK, GO_ON, CLOSING = codes(250), codes(354), codes(221)
REFUSED = codes("5xx")
OUT_OF_ORDER = codes(503)
SENDER, ALICE, BOB = b"s@a.example", b"alice@localhost", b"bob@localhost"
BODY = b"Subject: one\r\n\r\nfirst\r\n"


def ask(session: Dialogue, line: bytes, wanted: Acceptable, *, rule: str | None = None) -> Reply:
    """Send one line, and give its reply, which must be of the wanted kind."""
    reply = session.command(line)
    expect(f"reply to {shown(line)}", reply, wanted, rule=rule)
    assert reply is not None
    return reply


def envelope(session: Dialogue, sender: bytes = SENDER, recipients: Sequence[bytes] = (ALICE,)) -> None:
    """MAIL and RCPT, which must be taken."""
    ask(session, b"MAIL FROM:<%s>" % sender, OK)
    for recipient in recipients:
        ask(session, b"RCPT TO:<%s>" % recipient, OK)


def exchange(place: Place, data: bytes, *, half_close: bool = False) -> list[Reply]:
    """A session in one segment after its greeting: the replies up to the end, the greeting left out."""
    session = place.connect()
    session.greeting()
    session.send(data)
    if half_close:
        session.half_close()
    return session.replies()


def expect_replies(
    what: str, replies: Sequence[Reply], wanted: Sequence[Acceptable], *, rule: str | None = None
) -> None:
    """Miss unless there are as many replies as wanted, each of the wanted kind. `what` names what was sent."""
    fits = len(replies) == len(wanted) and all(one.holds(reply) for one, reply in zip(wanted, replies, strict=True))
    if not fits:
        acceptable = f"{len(wanted)} replies: {', '.join(one.words for one in wanted)}"
        actual = f"{len(replies)}: {', '.join(map(str, replies[:20])) or 'none'}"
        raise Miss(f"replies to {what}", acceptable, actual, rule)


def hear(session: Dialogue, for_s: float) -> None:
    """Read, and let pass, what comes until it has been quiet for that long."""
    with contextlib.suppress(Miss):
        while session.line(for_s) is not None:
            pass


def still_alive(session: Dialogue, after: object) -> None:
    """Miss unless the session answers NOOP with 250."""
    expect(f"reply to NOOP after {shown(after)}", session.command(b"NOOP"), OK)


def finish(session: Session) -> None:
    """QUIT, and wait until smap is gone."""
    ask(session, b"QUIT", CLOSING)
    session.read_to_eof()
    if session.smap is not None:
        session.exit_status()


def nothing_taken(place: Place, why: str, *, rule: str | None = None) -> None:
    """Miss when there is a whole file in the spool."""
    expect(f"whole files (755) in the spool after {why}", [file.describe() for file in place.whole()], _NONE, rule=rule)


_NONE = Acceptable("none", lambda files: not files)


def rows(table: Mapping[str, Any]) -> list[Any]:
    """A table as pytest parameters, each row a case with the name of its own."""
    return [pytest.param(*(row if isinstance(row, tuple) else (row,)), id=name) for name, row in table.items()]
