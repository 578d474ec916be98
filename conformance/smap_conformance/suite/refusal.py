"""A program that must refuse to work: how that looks from outside, whatever it says on the way."""

from __future__ import annotations

import re

from smap_conformance.expect import exactly, expect, miss, such_that
from smap_conformance.place import Place, Smapd

_TIME_AND_TAG = re.compile(r"^(<\d+>)?(\w{3} [ \d]\d \d\d:\d\d:\d\d )?|\[\d+\]")
A_REFUSAL = such_that("an exit status of 1 or more", lambda status: status > 0)


def smap_takes_no_mail(place: Place, why: str, *, with_status: bool = True) -> None:
    """Miss unless smap, which has heard nothing yet, says no 220, ends (with a status other than 0), leaves no file.

    What it says instead, 421 or nothing or a sentence for the administrator, is its own affair.
    """
    before = {file.name for file in place.entries()}
    session = place.connect()
    first = session.line()
    if first is not None and first[:1] == b"2":
        miss(f"smap's first words with {why}", "no 220, or a 421", first)
    session.read_to_eof()
    status = session.exit_status()
    if with_status:
        expect(f"the end of smap with {why}", status, A_REFUSAL)
    left = [file.describe() for file in place.entries() if file.name not in before]
    expect(f"new files in the spool with {why}", left, exactly([]))


def smapd_does_not_start(place: Place, why: str) -> Smapd:
    """Miss unless smapd ends with a status other than 0, or, where it goes to the background first, is gone at once."""
    smapd = place.start_smapd()
    status = smapd.outcome()
    if status is None:
        miss(f"smapd with {why}", "a refusal to start", "it stays")
    if status == 0:
        place.wait(f"smapd with {why}, gone to the background with status 0", "its end",
                   lambda: not smapd.running(), within_s=5)  # fmt: skip
    elif smapd.running():
        miss(f"smapd with {why}", "nothing left running", f"exit status {status}, and a process left behind")
    expect(f"runs of the mailer with {why}", [run.describe() for run in place.mailer.runs()], exactly([]))
    return smapd


def logged(place: Place) -> list[str]:
    """The lines of the log without the times and process numbers that syslog(3) puts before the words."""
    return [_TIME_AND_TAG.sub("", line) for line in place.log()]


def the_log_names(place: Place, why: str, *words: str) -> None:
    """Miss when no single line of the log holds all these words. Says nothing where the log cannot be caught."""
    if not place.sandbox.means.log:
        return
    wanted = [re.compile(rf"(?<!\w){re.escape(word)}(?!\w)") for word in words]

    def found() -> bool:
        return any(all(word.search(line) for word in wanted) for line in logged(place))

    def wait() -> None:
        place.wait("the log", "such a line", found, within_s=2)

    try:
        wait()
    except AssertionError:
        named = ", ".join(words)
        miss(f"the log with {why}", f"one line that names {named}", "; ".join(logged(place)) or "(nothing)")
