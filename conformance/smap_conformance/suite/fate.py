"""What becomes of messages: many at once in one place, each followed by its bytes until smapd has decided.

A message is known by its bytes, whatever name it has or gets; so a target may call its files as it likes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from smap_simulator.mailer import ACCEPTS, Behaviour, Rule, Script

from smap_conformance import spool
from smap_conformance.arrival import address_of
from smap_conformance.expect import Acceptable, Miss, exactly, expect, miss, one_of
from smap_conformance.mailer import Run
from smap_conformance.place import Place
from smap_conformance.scans import watching
from smap_conformance.spool import SpoolFile
from smap_conformance.suite.talk import ALICE, OK, finish

GONE, KEPT, ASIDE = "gone", "whole in the spool", "whole in baddir"
KEPT_OR_ASIDE = one_of(KEPT, ASIDE)
SCANS = 3  # the first may have begun before, the second may be the end of it: one is whole for certain


@dataclass(frozen=True, slots=True)
class Letter:
    """A message that smap has taken: what was sent, and its file as it was then."""

    sender: bytes
    recipients: tuple[bytes, ...]
    body: bytes
    file: SpoolFile

    def is_here(self, place: Place) -> bool:
        """Whether its name is in the spool; does not list the directory."""
        return (place.spool / self.file.name).exists()

    def runs(self, place: Place, *, finished: bool = False) -> list[Run]:
        """The mailer's runs for it."""
        return [run for run in place.mailer.runs(finished=finished) if address_of(run.sender or "") == self.sender]


def gather_all(
    place: Place, bodies: Mapping[bytes, bytes], recipients: Sequence[bytes] = (ALICE,)
) -> dict[bytes, Letter]:
    """One message for each sender, in one session (smapd must not be running)."""
    session = place.open_session()
    known = {path.name for path in place.spool.iterdir()}
    letters = {}
    for sender, body in bodies.items():
        expect(f"reply to the end of data from {sender!r}", place.send_mail(session, sender, recipients, body), OK)
        new = [path for path in place.spool.iterdir() if path.name not in known]
        files = [file for path in new if (file := spool.look(path)) is not None]
        if len(files) != 1 or not files[0].whole:
            miss("new files in the spool after 250", "one, whole", [file.describe() for file in files])
        known.add(files[0].name)
        letters[sender] = Letter(sender, tuple(recipients), body, files[0])
    finish(session)
    return letters


def small(senders: Sequence[bytes]) -> dict[bytes, bytes]:
    """A small body for each sender."""
    return {sender: b"Subject: to its fate\r\n\r\nfrom %s\r\n.\r\nthe end\r\n" % sender for sender in senders}


def by_sender(behaviours: Mapping[bytes, Behaviour], otherwise: Behaviour = ACCEPTS) -> Script:
    """A behaviour for each sender, whether the target leaves the angle brackets on or not."""
    rules = [
        Rule(behaviour, sender=form)
        for sender, behaviour in behaviours.items()
        for form in (sender.decode("latin-1"), f"<{sender.decode('latin-1')}>")
    ]
    return Script((*rules, Rule(otherwise)))


def by_recipient(behaviours: Mapping[bytes, Behaviour]) -> Script:
    """A behaviour for each recipient that has one; the first that is among the recipients counts."""
    rules = [
        Rule(behaviour, recipient=form)
        for recipient, behaviour in behaviours.items()
        for form in (recipient.decode("latin-1"), f"<{recipient.decode('latin-1')}>")
    ]
    return Script(tuple(rules))


def fate(place: Place, letter: Letter) -> str:
    """Where the message is: the spool is looked at first, so that a move between the looks shows it twice, not never.

    Bytes that are there with another mode, or its name with other bytes, are told as they are.
    """
    for where, directory in ((KEPT, place.spool), (ASIDE, place.baddir)):
        for file in spool.listing(directory):
            if file.sha256 == letter.file.sha256:
                return where if file.mode == letter.file.mode else f"there with another mode: {file.describe()}"
            if file.name == letter.file.name and directory == place.spool:
                return f"changed: {file.describe()}"
    return GONE


def settle(place: Place, letters: Sequence[Letter], decided: Callable[[Letter], bool] | None = None) -> None:
    """Wait until smapd has surely decided about each: gone from its place, tried again, or left alone by a whole scan.

    The mailer must have run for each before (unless `decided` says otherwise). Nobody lists the spool meanwhile.
    """

    def is_decided(letter: Letter) -> bool:
        return not letter.is_here(place) or len(letter.runs(place)) > 1

    if decided is None:
        place.wait(
            "the mailer",
            f"a finished run for each of {len(letters)} messages",
            lambda: all(letter.runs(place, finished=True) or not letter.is_here(place) for letter in letters),
        )
    with watching(place.spool) as scans:
        place.wait(
            "smapd",
            f"{SCANS} scans of the spool directory",
            lambda: scans.count() >= SCANS or all(map(decided or is_decided, letters)),
        )


def wait_scans(place: Place, count: int = SCANS) -> None:
    """Wait until smapd has looked into the spool directory so many times more."""
    with watching(place.spool) as scans:
        place.wait("smapd", f"{count} scans of the spool directory", lambda: scans.count() >= count)


def expect_fate(place: Place, what: str, letter: Letter, wanted: str | Acceptable, *, rule: str | None = None) -> None:
    """Miss unless the message is where it ought to be."""
    acceptable = exactly(wanted) if isinstance(wanted, str) else wanted
    try:
        expect(f"a message after {what}", fate(place, letter), acceptable, rule=rule)
    except Miss as missed:
        runs = ", ".join(f"[{run.behaviour}]" for run in letter.runs(place)) or "none"
        raise Miss(missed.what, missed.acceptable, f"{missed.actual} (runs of the mailer: {runs})", rule) from None


def make_empty(path: Path) -> None:
    """Take away whatever is there."""
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
