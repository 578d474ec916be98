"""Every dialogue of `dialogues` runs whole, byte by byte, cut at random places, and with garbage behind it.

Besides the table there are dialogues that hypothesis puts together, and held against the model.
"""

from collections.abc import Callable, Iterable

import pytest
from dialogues import BODY, CASES, HELO, OPEN, OTHER, QUIT, SEND, TEXT, Case
from hypothesis import given
from hypothesis import strategies as st
from model import expected
from playing import GARBAGE, NO_FAULTS, WAYS, Faults, cut, play
from smap_reference import reply
from smap_reference.reply import Reply

LINES = [
    *(
        b"HELO x\r\n",
        b"EHLO y\r\n",
        b"MAIL FROM:<a@x>\r\n",
        b"MAIL FROM:<>\r\n",
        b"RCPT TO:<b@x>\r\n",
        b"RCPT TO:<c>\r\n",
    ),
    *(b"DATA\r\n", b"DATA\r\n", b"RSET\r\n", b"NOOP\r\n", b"VRFY x\r\n", b"QUIT\r\n", b"QUIT x\r\n", b"XYZZY\r\n"),
    *(
        b".\r\n",
        b"\r\n.\r\n",
        b"..\r\n",
        b".\n",
        b"\n.\r\n",
        b"\r",
        b"\n",
        b"\0",
        b"body\r\n",
        b"RCPT TO:<a b>\r\n",
        SEND,
    ),
    *(HELO, OPEN, OTHER, b"x" * 600, b"GET / \r\n", b"\r\n" * 40),
]
SENT = st.lists(st.sampled_from(LINES) | st.binary(max_size=4), max_size=24).map(b"".join)
REFUSALS = st.dictionaries(st.integers(0, 3), st.sampled_from([reply.LOCAL_ERROR, reply.NO_ROOM]), max_size=3)
PLACES = st.lists(st.integers(0, 1000), max_size=12)
LIMIT = st.none() | st.integers(1, 30)


def test_the_names_of_the_cases_are_their_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_dialogue(case: Case, way: str) -> None:
    pieces: Callable[[bytes], Iterable[bytes]] = WAYS[way]
    size, recipients = case.message_bytes_max, case.recipients_max
    seen = play(pieces(case.sent), message_bytes_max=size, recipients_max=recipients)
    assert seen.codes() == case.wanted()
    assert seen.messages == list(case.messages)
    assert seen.left == case.left
    # The model is held to the table too: it judges the dialogues that nobody wrote down.
    sent = case.sent + (GARBAGE if "garbage" in way else b"")
    assert seen == expected(sent, message_bytes_max=size, recipients_max=recipients)


@given(SENT, PLACES, LIMIT, st.none() | st.integers(1, 2))
def test_any_dialogue_however_it_is_cut(
    sent: bytes, places: list[int], size: int | None, recipients: int | None
) -> None:
    wanted = expected(sent, message_bytes_max=size, recipients_max=recipients)
    assert play(cut(sent, places), message_bytes_max=size, recipients_max=recipients) == wanted


@given(SENT.map(OPEN.__add__), PLACES, REFUSALS, REFUSALS, REFUSALS)
def test_any_dialogue_on_a_machine_that_fails(
    sent: bytes, places: list[int], begin: dict[int, Reply], append: dict[int, Reply], finish: dict[int, Reply]
) -> None:
    faults = Faults(begin, append, finish)
    assert play(cut(sent, places), faults) == expected(sent, faults)


FAULTS = {
    "no file can be opened": (Faults(begin={0: reply.NO_ROOM}), "250*3 452 500*4"),
    "writing fails": (Faults(append={0: reply.LOCAL_ERROR}), "250*3 354 451"),
    "the message cannot be made durable": (Faults(finish={0: reply.NO_ROOM}), "250*3 354 452"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_refused_message_leaves_nothing_behind(fault: str, way: str) -> None:
    faults, codes = FAULTS[fault]
    after = Case("", OTHER + QUIT, f"{codes} 250*2 354 250 221").wanted()
    seen = play(WAYS[way](HELO + SEND + OTHER + QUIT), faults)
    assert seen.codes() == after
    assert [message.sender for message in seen.messages] == [b"t@b.example"]
    stale = play(WAYS[way](HELO + SEND + b"RCPT TO:<x@x>\r\nDATA\r\n"), faults)
    assert stale.codes()[-2:] == [503, 503]


def test_a_machine_that_failed_says_so_though_the_message_is_too_big() -> None:
    faults = Faults(append={0: reply.NO_ROOM})
    seen = play([OPEN, b"x\r\n", TEXT * 5, b".\r\n"], faults, message_bytes_max=len(BODY))
    assert seen.codes() == [220, 250, 250, 250, 354, 452]
    assert not seen.messages


def test_the_faults_are_of_one_message_only() -> None:
    assert play([HELO + SEND], NO_FAULTS).messages
    seen = play([HELO + SEND * 3], Faults(finish={1: reply.LOCAL_ERROR}))
    assert [said.code for said in seen.replies if said is reply.TAKEN or said is reply.LOCAL_ERROR] == [250, 451, 250]
    assert len(seen.messages) == 2
