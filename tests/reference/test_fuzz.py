"""A short slice of the fuzzing, the same in each run; and that the fuzzer sees what is wrong."""

import math

import fuzz
import pytest
from smap_reference import command, data, envelope, netperm, reply


def test_a_slice() -> None:
    assert fuzz.blindly(3000, math.inf, 1) == 3000


def test_the_corpus_reaches_every_target() -> None:
    assert {start[0] for start in fuzz.corpus()} == set(range(len(fuzz.TARGETS)))


def test_it_stops_when_its_time_is_over() -> None:
    assert fuzz.blindly(10**9, 0, 1) == 0


def test_wrong_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["soon"]) == 64
    assert "usage" in capsys.readouterr().err


BUGS = {
    "a bare LF ends the message": (data, "_END", b"\n.\r\n"),
    "an address may be an option": (command, "_LOCAL_NEVER_FIRST", b"/.~"),
    "a number has no bound": (netperm, "_NUMBER_MAX", 10**40),
    "a heading's line has no bound until it ends": (envelope.Heading, "_must_fit", lambda *_: None),
    "a refusal is positive": (reply, "NOT_RECOGNIZED", reply.Reply(250, "OK")),
}


@pytest.mark.parametrize("bug", BUGS)
def test_it_finds_what_is_wrong(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*BUGS[bug])
    with pytest.raises(AssertionError, match=r"replay\(b"):
        fuzz.blindly(20_000, math.inf, 1)
