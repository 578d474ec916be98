"""CFG: tables that must not be obeyed. Each is the good table of a place, broken in one line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from smap_simulator.mailer import PERMFAIL, always

from smap_conformance.expect import exactly, expect, miss
from smap_conformance.netperm import Unreadable
from smap_conformance.place import Place
from smap_conformance.suite.refusal import smap_takes_no_mail, smapd_does_not_start, the_log_names
from smap_conformance.suite.talk import rows

BAD_LINE = 347  # a number that is in no time of day and no other line of the log

NO_NUMBERS = {
    "a word": "ten",
    "digits and letters": "12x",
    "letters and digits": "x12",
    "a fraction": "1.5",
    "negative": "-5",
    "empty": "",
}
NO_USERS = {"unknown": "no-such-user-of-smaplab", "a negative number": "-1", "empty": ""}
DIRECTORIES = {"missing": Path("missing"), "a file": Path("file"), "not writable": Path("closed")}


def broken_lines(program: str, numbers: tuple[str, ...]) -> dict[str, tuple[str, str, str]]:
    """id → (program, clause, value): every clause in every way in which it can be of no use."""
    table = {f"{clause} {how}": (program, clause, value) for clause in numbers for how, value in NO_NUMBERS.items()}
    table |= {f"userid {how}": (program, "userid", value) for how, value in NO_USERS.items()}
    return table | {f"directory {how}": (program, "directory", str(name)) for how, name in DIRECTORIES.items()}


BROKEN_SMAP = broken_lines("smap", ("maxbytes", "maxrecip", "timeout"))
BROKEN_SMAPD = broken_lines("smapd", ("wakeup",))


def break_table(place: Place, program: str, clause: str, value: str) -> str:
    """The good table, but this clause of this program is on line BAD_LINE with this value; returns that line."""
    place.table(**{program: {clause: None}})
    good = place.table_text or ""
    if clause == "directory":
        value = str(place.disk / value)
    line = f"{program}: {clause} {value}".rstrip()
    place.raw_table(good + "# nothing here\n" * (BAD_LINE - 1 - good.count("\n")) + line + "\n")
    return line


@pytest.fixture
def bad_directories(place: Place) -> Iterator[None]:
    """A file, and a directory in which the target's user may not write, beside the spool directory."""
    (place.disk / "file").write_bytes(b"")
    closed = place.disk / "closed"
    closed.mkdir()
    closed.chmod(0o555)
    for name in ("file", "closed"):
        os.chown(place.disk / name, os.geteuid(), os.getegid())
    yield
    closed.chmod(0o755)


@pytest.mark.rule("CFG-08")
@pytest.mark.usefixtures("bad_directories")
@pytest.mark.parametrize(("program", "clause", "value"), rows(BROKEN_SMAP))
def test_smap_takes_no_mail_with_a_broken_table(place: Place, program: str, clause: str, value: str) -> None:
    line = break_table(place, program, clause, value)
    smap_takes_no_mail(place, f"the line `{line}`")
    the_log_names(place, f"the line `{line}`", str(BAD_LINE), clause)


@pytest.mark.rule("CFG-08")
@pytest.mark.usefixtures("bad_directories")
@pytest.mark.parametrize(("program", "clause", "value"), rows(BROKEN_SMAPD))
def test_smapd_does_not_start_with_a_broken_table(place: Place, program: str, clause: str, value: str) -> None:
    line = break_table(place, program, clause, value)
    smapd_does_not_start(place, f"the line `{line}`")
    the_log_names(place, f"the line `{line}`", str(BAD_LINE), clause)


# A file of mode 000 is no obstacle for root, and so no unreadable table.
UNREADABLE = [kind for kind in Unreadable if kind is not Unreadable.FORBIDDEN or os.geteuid() != 0]
NO_TABLES: dict[str, Any] = {"missing": None} | {kind.value: kind for kind in UNREADABLE}


def take_table_away(place: Place, content: Unreadable | None) -> str:
    """Let there be no table, or an unreadable one; returns what that is called."""
    place.raw_table(content)
    return f"{content.value} in the place of the table" if content else "no table"


@pytest.mark.rule("CFG-08")
@pytest.mark.parametrize("content", rows(NO_TABLES))
def test_smap_takes_no_mail_without_a_table(place: Place, content: Unreadable | None) -> None:
    why = take_table_away(place, content)
    smap_takes_no_mail(place, why)
    the_log_names(place, why, "netperm-table")


@pytest.mark.rule("CFG-08")
@pytest.mark.parametrize("content", rows(NO_TABLES))
def test_smapd_does_not_start_without_a_table(place: Place, content: Unreadable | None) -> None:
    why = take_table_away(place, content)
    smapd_does_not_start(place, why)
    the_log_names(place, why, "netperm-table")


@pytest.mark.rule("CFG-08")
@pytest.mark.parametrize("clause", ["maxbytes", "maxrecip", "timeout"])
def test_zero_is_refused_or_taken(place: Place, clause: str, note: Callable[[str, str], None]) -> None:
    """Whether 0 is a limit of nothing, no limit or nonsense is not laid down; that there is a clear answer is."""
    place.table(smap={clause: 0})
    session = place.connect()
    reply = session.reply()
    note("CFG-08", f"{clause} 0: {reply.code if reply else 'closed without a word'}")
    if reply is not None and reply.code not in (220, 421):
        miss(f"smap's first words with {clause} 0", "220, or a refusal", reply)


# Mail that is there already


def gathered_or_put(place: Place) -> None:
    """A whole message in the spool: smap's own where smap can run, else a file that smapd must not look at."""
    if place.sandbox.means.chroot:
        place.gather()
    else:
        place.put("message", b"a file that no smapd should open\n")


@pytest.mark.rule("CFG-10")
def test_smapd_without_executable_does_not_start(place: Place) -> None:
    gathered_or_put(place)
    place.table(smapd={"executable": None})
    before = place.whole()
    smapd_does_not_start(place, "no `executable` clause")
    expect("the spool", place.whole(), exactly(before))
    the_log_names(place, "no `executable` clause", "executable")


@pytest.mark.rule("CFG-08")
@pytest.mark.parametrize("how", DIRECTORIES)
@pytest.mark.usefixtures("bad_directories")
def test_a_useless_baddir_is_refused_or_loses_nothing(place: Place, how: str, note: Callable[[str, str], None]) -> None:
    place.mailer.script(always(PERMFAIL))
    gathered_or_put(place)
    before = place.whole()
    place.table(smapd={"baddir": place.disk / DIRECTORIES[how]})
    smapd = place.start_smapd()
    if refused := smapd.refused():
        expect("runs of the mailer", len(place.mailer.runs()), exactly(0))
    elif place.sandbox.means.chroot:
        place.wait_runs(2)  # the second is the proof that the first was dealt with
    note("CFG-08", f"baddir {how}: smapd {'refuses' if refused else 'starts, and keeps refused mail'}")
    expect(f"the message in the spool with a baddir that is {how}", place.whole(), exactly(before))
