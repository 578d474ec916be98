"""What a smap asks of the kernel after the change of root: nothing from outside the jail, on error paths too."""

from collections.abc import Callable
from pathlib import Path

import pytest
from jail_trace import PLAYS, WITH_PATHS, good, is_inside, leaving, traced
from own_log import Log
from programs import Installation, to_end

Needs = Callable[..., str]


@pytest.mark.parametrize("name", PLAYS)
def test_nothing_is_opened_from_outside_after_the_change_of_root(place: Installation, needs: Needs, name: str) -> None:
    play = PLAYS[name]
    calls = traced(place, play, needs("strace", package="strace"))
    assert any(play.shows in call for call in calls), "it did not happen, so the trace shows nothing"
    assert leaving(calls) == []
    # A call with a path there must be, or the judge is blind: the spool file's own.
    assert [call for call in calls if WITH_PATHS.match(call) and is_inside(call)]


def test_the_judge_sees_a_call_that_leaves() -> None:
    assert leaving(['openat(AT_FDCWD, "/etc/localtime", O_RDONLY) = -1 ENOENT'])
    assert leaving(['openat(AT_FDCWD, "/usr/lib/python3.11/encodings/idna.py", O_RDONLY) = 3'])
    assert leaving(['connect(3, {sa_family=AF_UNIX, sun_path="/dev/log"}, 110) = 0'])
    assert not leaving(['openat(AT_FDCWD, "m1764000000.000001.812.0", O_WRONLY|O_CREAT|O_EXCL, 0644) = 3'])


def test_a_program_that_imports_in_the_jail_is_caught(place: Installation, needs: Needs) -> None:
    """The whole way of the judgement, with a program that does what must not be done."""
    text = place.smap.read_text("utf-8")
    late = """
import smap_reference.smap

first = smap_reference.smap.Receiver.run


def run(self):
    try:
        import email
    except ImportError:
        pass
    return first(self)


smap_reference.smap.Receiver.run = run

main()"""
    place.smap.write_text(text.replace("\nmain()", late), "utf-8")
    assert leaving(traced(place, PLAYS["good"], needs("strace", package="strace"))) != []


def test_the_jail_is_empty_but_for_mail(place: Installation, log: Log) -> None:
    client, smap = place.session(*log.before)
    good(client, log)
    assert to_end(client).endswith(b"closing\r\n")
    assert smap.wait() == 0
    assert {Path(path.name).name[0] for path in place.spool.iterdir()} == {"m"}
