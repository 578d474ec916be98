"""FAULT: limits that the kernel sets to a process (getrlimit(2)): real short writes, EFBIG and EMFILE.

The programs are started with them, as by an inetd or a shell that has them.
"""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from dataclasses import replace

import pytest

from smap_conformance.dialogue import Reply, stuffed
from smap_conformance.expect import Miss, exactly, expect, miss
from smap_conformance.place import Place
from smap_conformance.suite.disk import body_of, clear, expect_held
from smap_conformance.suite.talk import BODY, OK

PAGE = 4096
DESCRIPTORS = range(3, 13)  # no smap does without 3, and none needs 12


@contextlib.contextmanager
def limited(place: Place, which: int, soft: int) -> Iterator[None]:
    """Programs are started with this limit (resource.RLIMIT_*), as long as it lasts."""
    shape, place.shape = place.shape, replace(place.shape, limits=((which, soft),))
    try:
        yield
    finally:
        place.shape = shape


def attempt(place: Place, body: bytes) -> Reply | None:
    """A session of one message, as far as it gets: the reply to the body, or to what was not taken before it."""
    session = place.connect()
    try:
        reply = session.reply()
    except Miss:
        return None  # the loader's or the interpreter's last words: the program has not come so far
    for line, code in (
        (b"HELO c.example", 220),
        (b"MAIL FROM:<s@a.example>", 250),
        (b"RCPT TO:<alice@localhost>", 250),
        (b"DATA", 250),
    ):
        if reply is None or reply.code != code:
            return None
        reply = session.command(line)
    if reply is None or reply.code != 354:
        return None
    session.send(stuffed(body))
    return session.reply()


def judge(place: Place, reply: Reply | None, body: bytes, why: str) -> None:
    """250 and the whole of it in a whole file; or no 250, and whatever is whole is really so."""
    files = place.whole()
    if reply is not None and reply.code == 250:
        expect(f"whole files after 250 with {why}", len(files), exactly(1))
    for file in files:
        expect_held(place, file.name, body)


def expect_the_next(place: Place, why: str) -> None:
    """The next session, without the limit, is as any other."""
    clear(place)
    expect(f"reply to a message without the limit, after {why}", attempt(place, BODY), OK)
    judge(place, Reply(250, ()), BODY, f"no limit, after {why}")
    clear(place)


@pytest.mark.rule("FAULT-02", "FAULT-03")
@pytest.mark.parametrize("size_bytes", [300, 5_000, 30_000])
def test_a_file_may_not_grow_so_large(place: Place, size_bytes: int) -> None:
    """The write that meets the limit is short, the next one fails with EFBIG (or SIGXFSZ ends the program)."""
    body = body_of(size_bytes)
    full = place.gather(body=body).size_bytes
    clear(place)
    for limit in sorted({0, 1, full // 2, full - 2, full - 1, *range(PAGE, full, PAGE)}):
        why = f"{limit} of {full} bytes allowed"
        with limited(place, resource.RLIMIT_FSIZE, limit):
            reply = attempt(place, body)
        judge(place, reply, body, why)
        clear(place)
    expect_the_next(place, "limits to the size of a file")


@pytest.mark.rule("FAULT-02")
def test_smap_may_open_few_files(place: Place) -> None:
    """At first so few that it cannot start, in the end as many as it needs, and in between one more each time."""
    codes = []
    for most in DESCRIPTORS:
        with limited(place, resource.RLIMIT_NOFILE, most):
            reply = attempt(place, BODY)
        judge(place, reply, BODY, f"no more than {most} open files")
        clear(place)
        codes.append(reply.code if reply is not None else None)
    if codes[-1] != 250:
        miss(f"replies to a message with {DESCRIPTORS[0]} to {DESCRIPTORS[-1]} open files", "250 at last", codes)
    expect_the_next(place, "limits to the number of open files")
