"""SCAN: a smapd that comes late to the lock, while another one delivers and removes the message under its hands."""

from __future__ import annotations

import pytest

from smap_conformance import offspring, process
from smap_conformance.expect import not_measured
from smap_conformance.place import Place
from smap_conformance.suite.load import a_message, delivered, expect_each_once, gather_all
from smap_conformance.suite.test_scan import kinds_of_smap
from smap_conformance.tracing import Trace

# How long strace holds each call that locks; fcntl(2) is used for much else as well, so less.
LATE = {"flock": "flock:delay_enter=3s", "fcntl": "fcntl:delay_enter=1s"}


def holds(daemon: int, inode: int) -> bool:
    """Whether the process, or one below it, has this file open."""
    for pid in (daemon, *offspring.descendants(daemon)):
        try:
            held = process.descriptors(pid)
        except OSError:  # gone since
            continue
        if any(each.identity[1] == inode and each.kind == "file" for each in held):
            return True
    return False


@pytest.mark.rule("SCAN-05")
def test_who_comes_late_to_the_lock_looks_again(place: Place) -> None:
    """It has seen the file and opened it; when the lock is free at last, the message is another one's, and gone."""
    kinds = kinds_of_smap(place)
    sent = a_message("wanted-by-two")
    file = gather_all(place, [sent])[sent.sender]
    path = place.spool / file.name
    late = place.start_smapd(trace=Trace(inject=(LATE["flock" if "flock" in kinds else "fcntl"],)))

    def at_work() -> bool:
        return any(holds(pid, file.inode) for pid in late.daemons())

    place.wait(
        "a smapd that is late at each lock", "an open of the message, or its delivery",
        lambda: at_work() or not path.exists(),
    )  # fmt: skip
    if not path.exists():
        not_measured(
            f"this smapd was not late: it locks otherwise than by {' and '.join(sorted(kinds))} on an open file"
        )
    place.start_smapd()
    place.wait("two smapd, one of them late", "the message delivered and gone", lambda: not path.exists())
    place.wait("the late smapd", "an end with a message that is gone", lambda: not at_work())
    place.wait_scans(1)
    expect_each_once([sent], delivered(place))
