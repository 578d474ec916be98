"""BAD: what baddir gets, when it cannot get it, and that nothing falls between the two directories."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from smap_simulator.mailer import PERMFAIL, Behaviour, always

from smap_conformance import spool
from smap_conformance.expect import exactly, expect, miss, not_measured
from smap_conformance.place import Place
from smap_conformance.sandbox import ALLOW_NAMESPACES
from smap_conformance.suite.fate import (
    ASIDE,
    KEPT,
    KEPT_OR_ASIDE,
    Letter,
    by_sender,
    expect_fate,
    gather_all,
    make_empty,
    settle,
    small,
    wait_scans,
)
from smap_conformance.suite.talk import BODY, SENDER, rows

LARGE = b"Subject: large\r\n\r\n" + (b"x" * 98 + b"\r\n") * 20_000


def refused(count: int) -> list[bytes]:
    """Senders whose mail the mailer refuses."""
    return [b"refused%02d@a.example" % number for number in range(count)]


def set_aside(place: Place, letters: list[Letter]) -> None:
    """Wait until none of the messages is in the spool any more."""
    what = "messages that the mailer refused for good"
    place.wait(what, "gone from the spool", lambda: not any(letter.is_here(place) for letter in letters))


@pytest.mark.rule("BAD-01")
def test_the_move_is_a_rename(place: Place) -> None:
    place.mailer.script(always(PERMFAIL))
    bodies = small(refused(5)) | {b"large@a.example": LARGE, b"empty@a.example": b""}
    letters = list(gather_all(place, bodies).values())
    place.start_smapd()
    set_aside(place, letters)
    count = len(letters)
    place.wait("baddir", f"{count} files, once all is over", lambda: len(list(place.baddir.iterdir())) == count)
    bad = {file.sha256: file for file in place.bad_entries()}
    for letter in letters:
        file = bad.get(letter.file.sha256)
        if file is None:
            miss(
                "baddir after a refusal", f"the bytes of {letter.file.describe()}", [f.describe() for f in bad.values()]
            )
        before, after = ((f.device, f.inode, f.mode, f.size_bytes, f.uid, f.gid) for f in (letter.file, file))
        expect("device, inode, mode, bytes, owner and group after the move", after, exactly(before))


# BAD-02: a name that is taken


def _a_file(path: Path) -> None:
    path.write_bytes(b"looked at tomorrow\n")
    path.chmod(0o755)


def _a_directory(path: Path) -> None:
    path.mkdir(mode=0o755)


def _a_link(path: Path) -> None:
    path.symlink_to("nowhere")


OCCUPANTS: dict[str, Callable[[Path], None]] = {
    "a file": _a_file,
    "an empty directory": _a_directory,
    "a dangling link": _a_link,
}


def occupy(place: Place, name: str, make: Callable[[Path], None]) -> str:
    """Put something of that name into baddir, owned as the target's own files are; what it looks like."""
    path = place.baddir / name
    make(path)
    os.chown(path, place.sandbox.user.uid, place.sandbox.user.gid, follow_symlinks=False)
    return seen(path)


def seen(path: Path) -> str:
    """Kind, inode and bytes of what is there."""
    found = spool.look(path)
    return f"{found.kind}, inode {found.inode}, {found.size_bytes} bytes {found.sha256[:12]}" if found else "nothing"


@pytest.mark.rule("BAD-02")
@pytest.mark.parametrize("make", rows(OCCUPANTS))
def test_what_has_the_name_already_survives(place: Place, make: Callable[[Path], None]) -> None:
    place.mailer.script(always(PERMFAIL))
    letters = list(gather_all(place, small(refused(3))).values())
    there = {letter.file.name: occupy(place, letter.file.name, make) for letter in letters}
    place.start_smapd()
    settle(place, letters)
    for letter in letters:
        what = "what had the name of a refused message in baddir"
        expect(what, seen(place.baddir / letter.file.name), exactly(there[letter.file.name]))
        expect_fate(place, "its name was taken in baddir", letter, KEPT_OR_ASIDE)


@pytest.mark.rule("BAD-02")
def test_a_name_taken_while_the_mailer_runs_survives(place: Place) -> None:
    place.mailer.script(always(Behaviour("takes its time, exits 67", lingers_s=2.0, exit_status=67)))
    (letter,) = gather_all(place, small([SENDER])).values()
    place.start_smapd()
    place.wait("the mailer", "its run", lambda: letter.runs(place))
    try:
        there = occupy(place, letter.file.name, _a_file_made_now)
    except FileExistsError:
        not_measured("the machine was too slow: the mailer had ended before baddir could be touched")
    settle(place, [letter])
    expect("what took the name in the meantime", seen(place.baddir / letter.file.name), exactly(there))
    expect_fate(place, "its name was taken in baddir meanwhile", letter, KEPT_OR_ASIDE)


def _a_file_made_now(path: Path) -> None:
    with path.open("xb") as file:
        file.write(b"looked at tomorrow\n")
    path.chmod(0o755)


@pytest.mark.rule("BAD-02")
def test_names_that_come_back_lose_nothing(place: Place) -> None:
    place.mailer.script(always(PERMFAIL))
    letters = list(gather_all(place, small(refused(4))).values())
    outside = place.disk / "outside"
    outside.mkdir()
    for letter in letters:
        (place.spool / letter.file.name).rename(outside / letter.file.name)
    name = letters[0].file.name
    smapd = place.start_smapd()
    for number, letter in enumerate(letters, 1):  # as after a restart of the machine, with its clock set back
        (outside / letter.file.name).rename(place.spool / name)
        place.wait("the mailer", "its run", lambda mine=letter: mine.runs(place, finished=True))  # type: ignore[misc]
        settle(place, [letter], lambda mine: not (place.spool / name).exists())
        for earlier in letters[:number]:
            expect_fate(place, f"{number} refused messages of one name", earlier, KEPT_OR_ASIDE)
        (place.spool / name).unlink(missing_ok=True)  # one that was kept has shown what it had to show
    expect("smapd", smapd.running(), exactly(True))


# BAD-03: the rename fails


@contextlib.contextmanager
def another_device(place: Place) -> Iterator[None]:
    if not place.sandbox.means.tmpfs:
        not_measured(f"baddir on another device needs a mount: {ALLOW_NAMESPACES}")
    place.sandbox.mount_disk(place.baddir, 1 << 20, None)
    try:
        place.baddir.chmod(0o777)
        yield
    finally:
        place.sandbox.unmount_disk(place.baddir)


@contextlib.contextmanager
def missing(place: Place) -> Iterator[None]:
    place.baddir.rmdir()
    yield


@contextlib.contextmanager
def a_file(place: Place) -> Iterator[None]:
    place.baddir.rmdir()
    _a_file(place.baddir)
    yield
    expect("the file in the place of baddir", place.baddir.read_bytes(), exactly(b"looked at tomorrow\n"))
    make_empty(place.baddir)


@contextlib.contextmanager
def no_right(place: Place) -> Iterator[None]:
    if os.geteuid() == 0:
        os.chown(place.baddir, 0, 0)
    place.baddir.chmod(0o555)
    yield
    place.baddir.chmod(0o755)


@contextlib.contextmanager
def a_dangling_link(place: Place) -> Iterator[None]:
    place.baddir.rmdir()
    place.baddir.symlink_to("nowhere")
    yield
    make_empty(place.baddir)


NO_BADDIR = {
    "on another device": another_device,
    "missing": missing,
    "a file": a_file,
    "without the right": no_right,
    "a dangling link": a_dangling_link,
}


@pytest.mark.rule("BAD-03")
@pytest.mark.parametrize("broken", rows(NO_BADDIR))
def test_a_rename_that_fails_leaves_the_message_in_the_spool(
    place: Place, broken: Callable[[Place], contextlib.AbstractContextManager[None]]
) -> None:
    senders = refused(3)
    place.mailer.script(by_sender(dict.fromkeys(senders, PERMFAIL)))
    smapd = place.start_smapd()
    place.wait_gone(place.gather())  # it has started, and seen that all is well
    with broken(place):
        letters = [Letter(sender, (), BODY, place.gather(sender)) for sender in senders]
        settle(place, letters, lambda letter: len(letter.runs(place)) > 1 or not letter.is_here(place))
        for letter in letters:
            expect_fate(place, f"baddir was {broken.__name__.replace('_', ' ')}", letter, KEPT)
        place.wait_gone(place.gather(b"other@a.example"))
        expect("smapd", smapd.running(), exactly(True))
        for letter in letters:
            expect_fate(place, "other mail went on", letter, KEPT)


# BAD-04


def inodes(directory: Path, sizes_bytes: set[int]) -> set[int]:
    """The whole files of those sizes, by inode."""
    found = set()
    for path in directory.iterdir():
        with contextlib.suppress(FileNotFoundError):
            entry = path.lstat()
            if entry.st_size in sizes_bytes and stat.S_IMODE(entry.st_mode) == spool.WHOLE:
                found.add(entry.st_ino)
    return found


@pytest.mark.rule("BAD-04")
@pytest.mark.parametrize("body", rows({"small": BODY, "2 MB": LARGE}))
def test_at_no_time_is_the_message_in_neither_place(place: Place, body: bytes) -> None:
    place.mailer.script(always(PERMFAIL))
    letters = list(gather_all(place, {sender: b"X-From: %s\r\n" % sender + body for sender in refused(20)}).values())
    sizes_bytes = {letter.file.size_bytes for letter in letters}
    place.start_smapd()

    def all_moved() -> bool:
        for _ in range(100):  # without a pause: a gap may be short
            here = inodes(place.spool, sizes_bytes)
            there = inodes(place.baddir, sizes_bytes)  # looked at later: what has left the spool must be here by now
            if len(here | there) < len(letters):
                what = f"{len(letters)} messages on their way to baddir, spool and then baddir looked at"
                miss(what, "each in one of them, whole", f"{len(here)} in the spool, {len(there)} in baddir")
        return not here

    place.wait("messages that the mailer refused", "all of them set aside", all_moved)
    for letter in letters:
        expect_fate(place, "its way to baddir", letter, ASIDE)


# BAD-05


@pytest.mark.rule("BAD-05")
def test_baddir_inside_the_spool_is_not_delivered(place: Place) -> None:
    place.baddir = place.spool / "bad"
    place.baddir.mkdir(mode=0o755)
    os.chown(place.baddir, place.sandbox.user.uid, place.sandbox.user.gid)
    place.table()
    old = list(gather_all(place, small([b"old%d@a.example" % number for number in range(3)])).values())
    for letter in old:
        (place.spool / letter.file.name).rename(place.baddir / letter.file.name)
    place.mailer.script(by_sender({b"refused@a.example": PERMFAIL}))
    (letter,) = gather_all(place, small([b"refused@a.example"])).values()
    place.start_smapd()
    place.wait_gone(place.gather(b"beside@a.example"))
    settle(place, [letter])
    wait_scans(place)
    expect_fate(place, "a refusal, with baddir inside the spool", letter, ASIDE)
    expect("runs of the mailer for it, after more scans of the spool", len(letter.runs(place)), exactly(1))
    for lying in old:
        expect_fate(place, "scans of the spool that baddir is in", lying, ASIDE)
        expect(
            "runs of the mailer for what lies in baddir, after scans of the spool", len(lying.runs(place)), exactly(0)
        )


# BAD-06


@pytest.mark.rule("BAD-06")
def test_without_a_baddir_a_refused_message_can_still_be_delivered(place: Place) -> None:
    place.table(smapd={"baddir": None})
    place.mailer.script(always(PERMFAIL))
    letters = list(gather_all(place, small(refused(5))).values())
    smapd = place.start_smapd()
    settle(place, letters)
    wait_scans(place)
    for letter in letters:
        expect_fate(place, "refusals, without a baddir", letter, KEPT)
    expect("smapd", smapd.running(), exactly(True))
    smapd.kill()
    place.table()
    place.start_smapd()  # the administrator has made one
    set_aside(place, letters)
    for letter in letters:
        expect_fate(place, "a refusal, once there is a baddir", letter, ASIDE)
