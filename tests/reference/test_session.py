"""The table of transitions, row by row; refusals counted; what a session asks of its caller."""

import itertools

import pytest
from dialogues import DATA, HELO, MAIL, OPEN, RCPT, TEXT
from playing import Faults, Player, play
from smap_reference import limit, reply
from smap_reference.command import VERBS
from smap_reference.session import (
    ENDED,
    GATHERING,
    GREETED,
    RECIPIENTS,
    SENDER,
    START,
    TRANSITIONS,
    Abandon,
    Append,
    Begin,
    Finish,
    Leave,
    Say,
    Session,
)

# How to come to a state, and a line for each verb
WAY_TO = {START: b"", GREETED: HELO, SENDER: HELO + MAIL, RECIPIENTS: HELO + MAIL + RCPT}
LINES = {
    b"HELO": b"HELO again.example\r\n",
    b"EHLO": b"EHLO again.example\r\n",
    b"MAIL": b"MAIL FROM:<late@x>\r\n",
    b"RCPT": b"RCPT TO:<late@x>\r\n",
    b"DATA": DATA,
    b"RSET": b"RSET\r\n",
    b"NOOP": b"NOOP\r\n",
    b"VRFY": b"VRFY x\r\n",
    b"QUIT": b"QUIT\r\n",
}
# Said a second time and in another shape than in the reference: the code and the state after it.
WANTED = """
            HELO          EHLO          MAIL        RCPT            DATA           RSET         NOOP            VRFY            QUIT
start       250 greeted   250 greeted   503         503             503            250 start    250 start       252 start       221 ended
greeted     250 greeted   250 greeted   250 sender  503             503            250 greeted  250 greeted     252 greeted     221 ended
sender      250 greeted   250 greeted   503         250 recipients  503            250 greeted  250 sender      252 sender      221 ended
recipients  250 greeted   250 greeted   503         250 recipients  354 gathering  250 greeted  250 recipients  252 recipients  221 ended
"""  # noqa: E501


def wanted() -> dict[tuple[str, bytes], tuple[int, str]]:
    head, *rows = WANTED.strip().splitlines()
    verbs = head.encode().split()
    found = {}
    for row in rows:
        state, *words = row.split()
        for verb in verbs:
            code = int(words.pop(0))
            found[state, verb] = (code, state if code == 503 else words.pop(0))
        assert not words
    return found


PAIRS = list(itertools.product(WAY_TO, sorted(VERBS)))


def names(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def test_the_tables_are_of_the_same_pairs() -> None:
    assert sorted(wanted()) == sorted(PAIRS)
    assert set(LINES) == VERBS
    assert {pair for pair, (code, _) in wanted().items() if code != 503} == set(TRANSITIONS)


@pytest.mark.parametrize(("state", "verb"), PAIRS, ids=names)
def test_every_verb_in_every_state(state: str, verb: bytes) -> None:
    code, after = wanted()[state, verb]
    player = Player(Session())
    player.feed(WAY_TO[state])
    assert player.session.state == state
    said = len(player.seen.replies)
    player.feed(LINES[verb])
    assert player.seen.codes()[said:] == [code]
    assert player.session.state == after
    assert bool(player.seen.left) == (after == ENDED)


# From each state a dialogue that shows what the session still knows: the codes, and the envelope that is taken.
PROBES: dict[str, tuple[bytes, list[int], tuple[bytes, tuple[bytes, ...]] | None]] = {
    START: (MAIL + RCPT + DATA, [503, 503, 503], None),
    GREETED: (RCPT + DATA + MAIL + DATA, [503, 503, 250, 503], None),
    SENDER: (DATA + RCPT + DATA + b".\r\n", [503, 250, 354, 250], (b"s@a.example", (b"alice@localhost",))),
    RECIPIENTS: (DATA + b".\r\n", [354, 250], (b"s@a.example", (b"alice@localhost",))),
}


@pytest.mark.parametrize(
    ("state", "verb"), [pair for pair in PAIRS if pair not in TRANSITIONS or pair[1] in (b"NOOP", b"VRFY")], ids=names
)
def test_out_of_order_changes_nothing(state: str, verb: bytes) -> None:
    sent, codes, envelope = PROBES[state]
    player = Player(Session())
    player.feed(WAY_TO[state] + LINES[verb] * 3)
    said = len(player.seen.replies)
    player.feed(sent)
    assert player.seen.codes()[said:] == codes
    assert [(message.sender, message.recipients) for message in player.seen.messages] == (
        [envelope] if envelope else []
    )


@pytest.mark.parametrize("verb", [b"HELO", b"EHLO", b"RSET"], ids=names)
@pytest.mark.parametrize("state", [GREETED, SENDER, RECIPIENTS])
def test_what_forgets_the_transaction(state: str, verb: bytes) -> None:
    sent, codes, _ = PROBES[GREETED]
    seen = play([WAY_TO[state], LINES[verb], sent])
    assert seen.codes()[-len(codes) :] == codes


def test_the_name_is_the_last_one_that_was_taken() -> None:
    player = Player(Session())
    assert player.session.hello == b""
    player.feed(b"HELO one\r\nEHLO two\r\nHELO a b\r\n")
    assert player.session.hello == b"two"


@pytest.mark.parametrize("state", WAY_TO)
def test_a_line_that_is_no_command_changes_nothing(state: str) -> None:
    sent, codes, envelope = PROBES[state]
    lines = b"XYZZY\r\nNOOP\nMAIL FROM:<a b>\r\nRCPT TO:<-q>\r\nDATA x\r\nHELO a b\r\n" + b"x" * 5000 + b"\r\n\r\n"
    seen = play([WAY_TO[state] + lines + sent])
    assert seen.codes()[-len(codes) :] == codes
    assert [(message.sender, message.recipients) for message in seen.messages] == ([envelope] if envelope else [])


# Refusals are counted

LAST = b"XYZZY\r\n" * limit.REFUSALS_MAX
TOO_MANY = [421]


@pytest.mark.parametrize(
    ("sent", "faults", "code"),
    [
        (b"XYZZY\r\n", Faults(), 500),
        (b"x" * 2000, Faults(), 500),
        (b"MAIL FROM:<a b>\r\n", Faults(), 553),
        (b"RCPT TO:<a@x>\r\n", Faults(), 503),
        (HELO + MAIL + RCPT + DATA, Faults(begin={0: reply.NO_ROOM}), 452),
        (OPEN + TEXT + b".\r\n", Faults(append={0: reply.LOCAL_ERROR}), 451),
        (OPEN + TEXT + b".\r\n", Faults(finish={0: reply.LOCAL_ERROR}), 451),
    ],
)
def test_one_refusal_too_many(sent: bytes, faults: Faults, code: int) -> None:
    session = Session()
    player = Player(session, faults)
    player.feed(LAST)
    assert not player.seen.left
    player.feed(sent)
    assert player.seen.codes()[-2:] == [code, 421]
    assert (player.seen.left, session.state) == ("too many errors", ENDED)
    player.feed(HELO + MAIL)
    assert session.step() is None


def test_a_message_does_not_make_up_for_refusals() -> None:
    seen = play([LAST, OPEN, TEXT + b".\r\n", b"NOOP\r\n", b"XYZZY\r\n"])
    assert seen.codes()[-3:] == [250, 500, 421]


# The heading's bound


def test_a_heading_that_smapd_would_not_read_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    bound = len(b"FROM <>\nRCPT a@x\nRCPT b@x\n")
    monkeypatch.setattr(limit, "HEADING_BYTES_MAX", bound)
    long = b"RCPT TO:<much.too.long@x>\r\n"
    start = HELO + b"MAIL FROM:<>\r\nRCPT TO:<a@x>\r\n"
    seen = play([start + long + b"RCPT TO:<b@x>\r\nRCPT TO:<c>\r\n" + DATA + b".\r\n"])  # `play` has smapd read it
    assert seen.codes() == [220, 250, 250, 250, 452, 250, 452, 354, 250]
    assert seen.messages[0].recipients == (b"a@x", b"b@x")


# What is asked of the caller


def actions(session: Session) -> list[type]:
    """The types of what the session does until it waits for an outcome or for input."""
    found: list[type] = []
    while (action := session.step()) is not None:
        found.append(type(action))
        if isinstance(action, Begin | Finish):
            break
    return found


def test_the_actions_of_a_message() -> None:
    session = Session()
    assert actions(session) == [Say]
    session.receive(OPEN + b"one\r\n.\r\nQUIT\r\n")
    assert actions(session) == [Say, Say, Say, Begin]
    session.began(None)
    assert actions(session) == [Say, Append, Finish]
    session.finished(None)
    assert actions(session) == [Say, Say, Leave]
    assert session.step() is None


def test_the_body_goes_on_in_pieces() -> None:
    session = Session()
    session.receive(OPEN)
    actions(session)
    session.began(None)
    assert actions(session) == [Say]
    for piece, done in [
        (b"a", [Append]),
        (b"\r", []),
        (b"\n.", []),
        (b".b", [Append]),
        (b"\r\n.\r", []),
        (b"\n", [Append, Finish]),
    ]:
        session.receive(piece)
        assert actions(session) == done


def test_what_is_too_big_is_abandoned_once_and_read_to_its_end() -> None:
    session = Session(message_bytes_max=3)
    session.receive(OPEN)
    actions(session)
    session.began(None)
    actions(session)
    for piece, done in [(b"aaa", [Append]), (b"b", [Abandon]), (b"c" * 9999, []), (b"\r\n.\r\nNOOP\r\n", [Say, Say])]:
        session.receive(piece)
        assert actions(session) == done
    assert session.state == GREETED


def test_a_message_spoiled_at_any_time_is_refused_at_its_end() -> None:
    session = Session(message_bytes_max=5)
    session.receive(OPEN)
    actions(session)
    session.began(None)
    session.receive(b"a\r\n.\r\n")
    assert isinstance(session.step(), Say)
    assert isinstance(session.step(), Append)
    session.spoil(reply.NO_ROOM)  # the end of data has been read already
    said = session.step()
    assert isinstance(said, Say)
    assert (said.reply, said.about) == (reply.NO_ROOM, b"end of data")
    assert session.step() is None
    assert session.state == GREETED


def test_replies_say_what_they_answer() -> None:
    session = Session()
    session.receive(b"HELO x\r\nXYZZY\r\nPOST /\r\n")
    about = [(action.reply, action.about) for action in iter(session.step, None) if isinstance(action, Say)]
    assert about == [
        (reply.READY, b""),
        (reply.HELLO, b"HELO x\r\n"),
        (reply.NOT_RECOGNIZED, b"XYZZY\r\n"),
        (reply.NOT_SMTP, b"POST /\r\n"),
    ]


@pytest.mark.parametrize("outcome", [b"", OPEN, OPEN + TEXT + b".\r\n"])
def test_an_outcome_that_was_not_asked_for_is_a_fault_of_ours(outcome: bytes) -> None:
    """Also one that is asked for and not given, or that of the other question."""
    session = Session()
    session.receive(outcome)
    awaited = actions(session)[-1]
    if awaited is Begin and TEXT in outcome:
        session.began(None)
        awaited = actions(session)[-1]
    if awaited in (Begin, Finish):
        with pytest.raises(AssertionError, match="the outcome of the last action is missing"):
            session.step()
    if awaited is not Begin:
        with pytest.raises(AssertionError):
            session.began(None)
    if awaited is not Finish:
        with pytest.raises(AssertionError):
            session.finished(None)
    if session.state != GATHERING:
        with pytest.raises(AssertionError):
            session.spoil(reply.LOCAL_ERROR)


def test_input_is_not_kept_when_nothing_will_read_it() -> None:
    """A line without an end is held to its bound however much of it comes."""
    session = Session()
    actions(session)
    for _ in range(64):
        session.receive(b"x" * limit.RECEIVE_BYTES)
        actions(session)
        assert len(session._input) <= limit.COMMAND_LINE_BYTES_MAX
    session.receive(b"\r\nHELO x\r\n")
    assert actions(session) == [Say]
    assert session.state == GREETED
