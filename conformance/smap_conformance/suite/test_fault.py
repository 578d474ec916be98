"""FAULT: a disk that is full, in bytes or in inodes, before a message or anywhere within one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from smap_conformance.expect import codes, exactly, expect
from smap_conformance.lab import Lab
from smap_conformance.place import Place
from smap_conformance.suite.disk import (
    DISK_BYTES,
    NOT_NOW,
    PAGE,
    body_of,
    clear,
    expect_held,
    expect_mail_again,
    expect_put_off,
    fill,
    offer,
    use_up_inodes,
)
from smap_conformance.suite.talk import BODY, OK, rows


@pytest.mark.rule("FAULT-01")
@pytest.mark.parametrize(
    ("shape", "fault"),
    rows({"no bytes": ({"disk_bytes": DISK_BYTES}, fill), "no inodes": ({"inodes": 40}, use_up_inodes)}),
)
@pytest.mark.parametrize("when", ["before the client comes", "before DATA"])
def test_no_room_at_creation(
    lab: Lab, shape: dict[str, int], fault: Callable[[Place], Callable[[], None]], when: str
) -> None:
    with lab.place(**shape) as place:
        why = f"a disk that was full {when}"
        if when == "before DATA":
            session = place.open_session()
            undo = fault(place)
            answer = offer(session, BODY)
        else:
            undo = fault(place)
            session = place.connect()
            answer = session.reply(), "the connection"
            if answer[0] is not None and answer[0].code == 220:
                expect("reply to HELO", session.command(b"HELO c.example"), OK)
                answer = offer(session, BODY)
        expect_put_off(place, answer, why)
        undo()
        expect_mail_again(place, session, why)


@pytest.mark.rule("FAULT-01")
@pytest.mark.parametrize("size_bytes", [200_000, 1_500_000])
def test_a_message_larger_than_the_disk(lab: Lab, size_bytes: int) -> None:
    with lab.place(disk_bytes=DISK_BYTES) as place:
        session = place.open_session()
        why = f"a message of {size_bytes} bytes and a disk of {DISK_BYTES}"
        expect_put_off(place, offer(session, body_of(size_bytes)), why)
        clear(place)  # whether a part of it may stay is GATHER-09's question
        expect_mail_again(place, session, why)


@pytest.mark.rule("FAULT-01")
def test_a_disk_that_fills_up_within_a_message(lab: Lab) -> None:
    """Half of the body is taken when another program takes what is left of the disk."""
    with lab.place(disk_bytes=1 << 20) as place:
        session = place.open_session()
        undo: list[Callable[[], None]] = []
        answer = offer(session, body_of(600_000), lambda: undo.append(fill(place)))
        why = "a disk that another program filled in the middle of the message"
        expect_put_off(place, answer, why)
        for make_room in undo:
            make_room()
        expect_mail_again(place, session, why)


@pytest.mark.rule("FAULT-01")
@pytest.mark.parametrize("free_pages", [1, 2, 3, 5, 17])
def test_messages_about_as_large_as_the_room_for_them(lab: Lab, free_pages: int) -> None:
    """Sizes in steps about the very edge: each is taken whole, or put off and leaves nothing."""
    free = free_pages * PAGE
    steps = (-PAGE, -1024, -512, -256, -192, -128, -64, -1, 0, 1, 64, PAGE)
    sizes = [free // 8, *(free + step for step in steps if free + step > 0)]
    with lab.place(disk_bytes=DISK_BYTES) as place:
        fill(place, free)
        session = place.open_session()
        codes_seen = []
        for size_bytes in sizes:
            answer = offer(session, body_of(size_bytes))
            reply, to = answer
            why = f"{size_bytes} bytes to write and room for {free}"
            if size_bytes > free:
                expect(f"reply to {to} with {why}", reply, NOT_NOW)
            expect(f"reply to {to} with {why}", reply, codes(250, "4xx"))
            assert reply is not None  # the vocabulary of `codes` knows; mypy does not
            codes_seen.append(reply.code)
            if reply.code == 250:
                expect("whole files after 250", len(place.whole()), exactly(1))
                expect_held(place, place.whole()[0].name, body_of(size_bytes))
            else:
                expect_put_off(place, answer, why)
                told = session.command(b"RSET")
                if told is None or told.code == 421:
                    session = place.open_session()
            clear(place)
        what = f"reply to a message of {sizes[0]} bytes with room for {free}"
        expect(what, codes_seen[0], exactly(250) if free_pages >= 5 else codes(250, "4xx"))


@pytest.mark.rule("GATHER-09")
@pytest.mark.parametrize(("size_bytes", "left_bytes"), [(100, 0), (200_000, 0), (200_000, PAGE), (200_000, 5 * PAGE)])
def test_a_full_disk_is_not_made_fuller(lab: Lab, size_bytes: int, left_bytes: int) -> None:
    """What was refused for want of room leaves no file that takes some."""
    with lab.place(disk_bytes=DISK_BYTES) as place:
        session = place.open_session()
        fill(place, left_bytes)
        reply, to = offer(session, body_of(size_bytes))
        expect(f"reply to {to}", reply, codes("4xx", "5xx"))
        left = [file.describe() for file in place.entries()]
        expect(f"files left after {reply} to {to} of {size_bytes} bytes with room for {left_bytes}", left, exactly([]))
