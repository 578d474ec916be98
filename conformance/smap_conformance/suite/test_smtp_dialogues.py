"""SMTP: dialogues that nobody wrote by hand, against a model of the session."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smap_conformance.arrival import arrived, expect_body
from smap_conformance.dialogue import stuffed
from smap_conformance.expect import Acceptable, Miss, codes, exactly, expect, such_that
from smap_conformance.lab import Lab
from smap_conformance.place import Place, Session
from smap_conformance.suite.session_model import Examples, Model, Step, Taken
from smap_conformance.suite.talk import CLOSING, OK, expect_replies

ordinary: Any = settings(
    derandomize=True,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    print_blob=False,
    suppress_health_check=list(HealthCheck),
)
numbers = st.integers(0, 6)
VERBS = ["HELO", "EHLO", "MAIL", "RCPT", "DATA", "RSET", "NOOP", "VRFY", "BAD"]
steps = st.builds(Step, st.sampled_from(VERBS), numbers)


def of(verb: str) -> st.SearchStrategy[Step]:
    """That command with any argument."""
    return st.builds(Step, st.just(verb), numbers)


def in_order(*parts: st.SearchStrategy[list[Step]]) -> st.SearchStrategy[list[Step]]:
    """The parts one after the other."""
    return st.tuples(*parts).map(lambda found: [step for part in found for step in part])


some_recipients = st.lists(of("RCPT"), min_size=1, max_size=4)
stray = st.lists(steps, max_size=2)
one_mail, one_data = of("MAIL").map(lambda step: [step]), of("DATA").map(lambda step: [step])
whole = in_order(one_mail, some_recipients, one_data)
disturbed = in_order(one_mail, stray, some_recipients, stray, one_data)
# Blocks of what a client does, with strays between and within them: single steps by chance would never make a message.
blocks = st.lists(st.one_of(whole, disturbed, stray), max_size=5).map(lambda found: list(itertools.chain(*found)))
openings = st.sampled_from([[Step("HELO")], [Step("EHLO"), Step("HELO")], []])
dialogues = in_order(openings, blocks)


def described(done: list[Step]) -> str:
    """The dialogue so far, for the words of a failure."""
    return " · ".join(map(str, done))


def play(session: Session, dialogue: list[Step], model: Model) -> bool:
    """One step after the other, each reply held against the model. False when smap left, as it may after refusals."""
    for number, step in enumerate(dialogue, 1):
        wanted = model.wanted(step)
        reply = session.command(step.line())
        if not wanted.holds(reply):
            raise Miss(f"reply to the last of: {described(dialogue[:number])}", wanted.words, str(reply))
        assert reply is not None
        if reply.code == 421:
            return False
        model.learn(step, reply)
        if reply.code == 354:
            body = model.body(step)
            session.send(stuffed(body))
            expect(f"reply to the end of data in: {described(dialogue[:number])}", session.reply(), OK)
            model.took(body)
    return True


def expect_arrivals(place: Place, taken: list[Taken], dialogue: list[Step]) -> None:
    """Miss unless exactly what was taken arrives, each message with its own envelope."""
    what = f"after: {described(dialogue)}"
    expect(f"whole files {what}", len(place.whole()), exactly(len(taken)))
    messages = arrived(place) if taken else []
    subjects = {message.body.partition(b"\n")[0].strip(): message for message in messages}
    for one in taken:
        subject = one.body.partition(b"\r\n")[0]
        message = subjects.get(subject)
        if message is None:
            raise Miss(f"messages that arrived {what}", f"one with {subject!r}", f"{sorted(subjects)}")
        found = message.sender, _once(message.recipients)
        expect(f"envelope of {subject!r} {what}", found, exactly((one.sender, _once(one.recipients))))
        expect_body(f"body of {subject!r} {what}", message.body, one.body)
    expect(f"number of messages that arrived {what}", len(messages), exactly(len(taken)))


def _once(recipients: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Each recipient once: whoever is named twice may get one copy or two."""
    return tuple(dict.fromkeys(recipients))


@pytest.mark.rule("SMTP-03", "SMTP-04", "SMTP-08", "SMTP-09")
def test_any_dialogue_keeps_to_the_model(lab: Lab) -> None:
    examples = Examples()

    @settings(ordinary, max_examples=70)
    @given(dialogue=dialogues, quits=st.booleans())
    def one(dialogue: list[Step], quits: bool) -> None:
        def run() -> None:
            model = Model()
            with lab.place() as place:
                session = place.connect()
                session.greeting()
                if play(session, dialogue, model):
                    if quits:
                        expect(f"reply to QUIT after: {described(dialogue)}", session.command(b"QUIT"), CLOSING)
                    else:
                        session.half_close()
                session.read_to_eof()
                session.exit_status()
                expect_arrivals(place, model.taken, dialogue)

        examples.play((dialogue, quits), run)

    one()


def pipelined(dialogue: list[Step]) -> tuple[bytes, list[Acceptable], Model, list[Step]]:
    """The bytes of those steps that need no waiting, the replies they must get, and the model after them."""
    model, data, wanted, kept = Model(), b"", list[Acceptable](), list[Step]()
    for step in dialogue:
        if not model.is_settled(step) or model.refusals >= 8:
            continue
        kept.append(step)
        data += step.line() + b"\r\n"
        acceptable = model.wanted(step)
        wanted.append(acceptable)
        model.learn(step, next(code for code in (250, 252, 354, 503, 500) if acceptable.holds(code)))
        if acceptable.holds(354):
            body = model.body(step)
            data += stuffed(body)
            wanted.append(OK)
            model.took(body)
    return data + b"QUIT\r\n", [*wanted, CLOSING], model, kept


@pytest.mark.rule("SMTP-12", "SMTP-09")
def test_any_dialogue_in_any_segments(lab: Lab) -> None:
    examples = Examples()

    @settings(ordinary, max_examples=60)
    @given(dialogue=dialogues, cuts=st.lists(st.integers(1, 2000), max_size=8))
    def one(dialogue: list[Step], cuts: list[int]) -> None:
        data, wanted, model, kept = pipelined(dialogue)
        places = [0, *sorted({cut % len(data) for cut in cuts} - {0}), len(data)]

        def run() -> None:
            with lab.place() as place:
                session = place.connect()
                session.greeting()
                for start, end in itertools.pairwise(places):
                    session.send(data[start:end])
                    session.wait_read()
                what = f"{described(kept)} · QUIT, in segments that end at {places[1:]}"
                expect_replies(what, session.replies(), wanted)
                expect_arrivals(place, model.taken, kept)

        examples.play((kept, places), run)

    one()


ends = st.sampled_from([b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\0\r\n", b" \r\n"])
noise = st.lists(st.tuples(st.one_of(st.binary(max_size=60), st.builds(Step.line, steps)), ends), max_size=12)


@pytest.mark.rule("SMTP-04", "SMTP-13")
def test_noise_is_answered_with_replies_and_leaves_nothing_whole(lab: Lab) -> None:
    """Any bytes at all: replies in due form, an end, and no message (there is no final dot in them)."""
    examples = Examples()

    @settings(ordinary, max_examples=100)
    @given(lines=noise)
    def one(lines: list[tuple[bytes, bytes]]) -> None:
        data = b"".join(line + end for line, end in lines).replace(b"\r\n.\r\n", b"\r\n,\r\n")

        def run() -> None:
            with lab.place() as place:
                session = place.connect()
                session.greeting()
                session.send(data)
                session.half_close()
                for reply in session.replies():
                    expect(f"a reply to {data!r}", reply, codes("2xx", 354, "5xx", 421))
                by_itself = such_that("0 or more: it was not killed", lambda status: status >= 0)
                expect(f"exit status after {data!r} and end of input", session.exit_status(), by_itself)
                expect("whole files", len(place.whole()), exactly(0))

        examples.play(data, run)

    one()
