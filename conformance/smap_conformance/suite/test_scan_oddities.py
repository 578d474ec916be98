"""SCAN: what in the spool is no message, or none that can be read: never mailed, never lost, in nobody's way."""

from __future__ import annotations

import hashlib
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from smap_conformance import spool
from smap_conformance.expect import exactly, expect, miss, not_measured
from smap_conformance.place import Place
from smap_conformance.spool import WHOLE
from smap_conformance.suite.load import (
    Sent,
    a_message,
    delivered,
    expect_each_once,
    expect_intact,
    expect_none_lost,
    gather_all,
    send_all,
)
from smap_conformance.suite.talk import rows


def seen_beside(place: Place, what: str, good: list[Sent]) -> None:
    """With smapd at work: wait until it has delivered the good messages, and has then scanned again, and again."""
    wanted = {sent.sender for sent in good}
    place.wait(
        f"smapd, with {what} in its spool", f"delivery of the {len(good)} messages beside it",
        lambda: wanted <= {message.sender for message in delivered(place)},
    )  # fmt: skip
    place.wait_scans(2)


# What is no regular file


def directory(path: Path, secret: Path) -> None:
    path.mkdir()
    (path / "inside").write_bytes(secret.read_bytes())
    (path / "inside").chmod(WHOLE)


def link_to(aim: str) -> Callable[[Path, Path], None]:
    return lambda path, _: path.symlink_to(aim)


def fifo(path: Path, _: Path) -> None:
    os.mkfifo(path)


def listening(path: Path, _: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as bound:
        bound.bind(str(path))
        bound.listen()


def device(major: int, minor: int) -> Callable[[Path, Path], None]:
    def make(path: Path, _: Path) -> None:
        try:
            os.mknod(path, stat.S_IFCHR | 0o755, os.makedev(major, minor))
        except PermissionError:
            not_measured("only root may make a device")

    return make


Make = Callable[[Path, Path], None]
NO_FILES: dict[str, dict[str, Make]] = {
    "what leads elsewhere": {
        "directory": directory,
        "link-to-message": lambda path, secret: path.symlink_to(secret),
        "link-to-system": link_to("/etc/passwd"),
        "link-to-nothing": link_to("nowhere"),
        "link-to-itself": lambda path, _: path.symlink_to(path.name),
        "link-to-directory": link_to("/"),
    },
    "what an open waits for": {"fifo": fifo, "socket": listening},
    "devices": {"null": device(1, 3), "zero": device(1, 5), "tty": device(5, 0)},
}
COPIES = 12  # of each, so that a target that spends a delivery on each has none left


@pytest.mark.rule("SCAN-08")
@pytest.mark.parametrize("kinds", rows(NO_FILES))
def test_what_is_no_regular_file_is_neither_delivered_nor_in_the_way(place: Place, kinds: dict[str, Make]) -> None:
    secret, *good = (a_message(name) for name in ("secret", "good1", "good2"))
    files = gather_all(place, [secret, *good])
    aside = (place.spool / files[secret.sender].name).rename(place.disk / "secret")
    user = place.sandbox.user
    for kind, make in kinds.items():
        for number in range(COPIES):  # before the messages in any order of names, and behind them
            path = place.spool / f"{'0' if number % 2 else 'zzz'}{kind}{number}"
            make(path, aside)
            os.chown(path, user.uid, user.gid, follow_symlinks=False)
            if not path.is_symlink():
                path.chmod(WHOLE)
    smapd = place.start_smapd()
    seen_beside(place, f"{COPIES} each of {', '.join(kinds)}", good)
    expect_each_once(good, delivered(place))
    left = spool.look(aside)
    expect("SHA-256 of the message that a link leads to", left and left.sha256, exactly(files[secret.sender].sha256))
    expect("whether smapd is there", smapd.running(), exactly(True))


# Whole messages under names that smap would not choose

NAMES = [".dotted", "-f", "--help", "a b", "x;y", "$(id)", "*", "\u00e4", "new\nline", "%s%n", "n" * 240, "core"]


@pytest.mark.rule("SCAN-07")
def test_whole_messages_under_odd_names_are_delivered_or_kept(place: Place) -> None:
    odd = [a_message(f"named{number}") for number in range(len(NAMES))]
    good = [a_message("good1"), a_message("good2")]
    files = gather_all(place, [*odd, *good])
    for sent, name in zip(odd, NAMES, strict=True):
        (place.spool / files[sent.sender].name).rename(place.spool / name)
    smapd = place.start_smapd()
    seen_beside(place, f"messages named {NAMES}", good)
    expect_intact([*odd, *good], delivered(place))
    expect_none_lost(place, odd)
    expect("whether smapd is there", smapd.running(), exactly(True))


@pytest.mark.rule("SCAN-07")
def test_a_message_with_two_names_is_delivered_whole_and_is_in_nobodys_way(place: Place) -> None:
    """Two names are two messages, or one: the manual does not say. Either is delivered."""
    twin, good = a_message("twin"), a_message("good")
    files = gather_all(place, [twin, good])
    os.link(place.spool / files[twin.sender].name, place.spool / "its-other-name")
    place.start_smapd()
    seen_beside(place, "a message of two names", [twin, good])
    expect_intact([twin, good], delivered(place))


# Headings that cannot be read


def noise(seed: str, count: int) -> bytes:
    """Bytes without any order, the same in every run."""
    return b"".join(hashlib.sha512(b"%s %d" % (seed.encode(), n)).digest() for n in range(count // 64 + 1))[:count]


def damaged(whole: bytes, content: bytes, sent: Sent) -> dict[str, bytes]:
    """What was made of a whole spool file of the target's own: `content` is what its mailer gets of it.

    Nothing is known of the heading but that it stands before that content, in lines or in one piece, and whose
    addresses are in it.
    """
    heading = whole[: len(whole) - len(content)] if content and whole.endswith(content) else b""
    lines = heading.splitlines(keepends=True)
    found = {}
    at = 0
    for number, line in enumerate(lines, 1):
        found[f"cut in line {number} of the heading"] = heading[: at + len(line) // 2]
        at += len(line)
        if number < len(lines):
            found[f"cut after line {number} of the heading"] = heading[:at]
    for what, address in (("sender", sent.sender), ("recipient", sent.recipients[0])):
        holding = [line for line in lines if address in line]
        if len(holding) != 1 or sum(other in holding[0] for other in (sent.sender, sent.recipients[0])) != 1:
            continue  # not in a line of its own: then there is no such damage
        found[f"no {what}"] = heading.replace(holding[0], b"", 1) + content
        with_nul = address.replace(b"@", b"\0@", 1)
        found[f"a NUL in the {what}"] = heading.replace(address, with_nul, 1) + content
    if heading:
        found["noise before the heading"] = noise("before", 3000) + whole
        found["no heading"] = content
    return {what: data for what, data in found.items() if data}


NO_HEADINGS: dict[str, bytes] = {
    "nothing": b"",
    "one byte": b"x",
    "one empty line": b"\n",
    "NULs": b"\0" * 4096,
    "a megabyte of NULs": b"\0" * 1_000_000,
    "noise": noise("a few kB", 3000),
    "a megabyte of noise": noise("a megabyte", 1_000_000),
    "a megabyte in one line": b"x" * 1_000_000,
    "a megabyte of empty lines": b"\n" * 1_000_000,
    "a script": b"#!/bin/sh\nexec /bin/false\n",
    "half a program": b"\x7fELF\x02\x01\x01" + noise("program", 2000),
}


@pytest.mark.rule("SCAN-09")
@pytest.mark.parametrize("baddir", [True, False], ids=["with baddir", "without baddir"])
def test_a_heading_that_cannot_be_read_is_never_mailed_and_never_lost(place: Place, baddir: bool, note: Any) -> None:
    if not baddir:
        place.table(smapd={"baddir": None})
    sample, *good = (a_message(name) for name in ("sample", "good1", "good2"))
    files = gather_all(place, [sample, *good])
    whole = (place.spool / files[sample.sender].name).read_bytes()
    smapd = place.start_smapd()
    place.wait("the mailer", "a sample of a whole message", lambda: sample.sender in _senders(place))
    content = next(message.content for message in delivered(place) if message.sender == sample.sender)
    broken = NO_HEADINGS | damaged(whole, content, sample)
    if len(broken) == len(NO_HEADINGS):
        note("SCAN-09", "no heading before what the mailer gets: files without one were tried, cut ones were not")
    names = {}
    for number, (what, data) in enumerate(broken.items()):
        names[what] = place.put(f"{'0' if number % 2 else 'zzz'}broken{number}", data).name
    more = a_message("more")
    send_all(place, [more])
    seen_beside(place, f"{len(broken)} broken files", [*good, more])
    if baddir:
        place.wait("the spool, with a baddir", "none of the broken files left in it", lambda: not place.whole())
    expect_each_once([sample, *good, more], delivered(place))
    files_there = place.bad_entries() if baddir else place.entries()
    there = {file.sha256 for file in files_there}
    lost = [what for what, data in broken.items() if hashlib.sha256(data).hexdigest() not in there]
    where = "baddir" if baddir else "the spool, as there is no baddir"
    if lost:
        found = "; ".join(file.describe() for file in files_there) or "nothing"
        miss(f"files whose heading cannot be read, in {where}", f"all {len(broken)}", f"not {lost}, among {found}")
    expect("whether smapd is there", smapd.running(), exactly(True))


def _senders(place: Place) -> set[bytes]:
    return {message.sender for message in delivered(place)}
