"""PRIV: what smap, smapd and the mailer still hold when strangers come into play, as /proc and the mailer see it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from smap_simulator.mailer import HANGS, always

from smap_conformance import namespace, offspring, process
from smap_conformance.expect import exactly, expect, not_measured, such_that
from smap_conformance.lab import Lab
from smap_conformance.place import Place, Session
from smap_conformance.process import wait_for
from smap_conformance.suite.refusal import smap_takes_no_mail, smapd_does_not_start
from smap_conformance.suite.talk import GO_ON, ask, envelope
from smap_conformance.unread import network_inodes

AS_ROOT = "a program can change its user only where it is started as root"
ROOTS_GROUPS = (0, 6, 42, 54_321)  # root, disk and shadow on many systems, and a number of nobody's
MODES = ["nowait", "wait"]


def served(session: Session) -> Callable[[], list[int]]:
    """A look at the processes that serve a client which has been greeted, and has said nothing yet."""
    session.greeting()
    return lambda: process.serving(session)


@contextmanager
def open_directory(name: str = "/") -> Iterator[int]:
    """A descriptor on a directory outside the jail."""
    descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


# smap before the client's first byte


@pytest.mark.rule("PRIV-01")
@pytest.mark.parametrize("mode", MODES)
def test_smap_is_in_its_jail_before_the_first_byte(lab: Lab, mode: str) -> None:
    with lab.place(mode=mode) as place:
        jail = place.spool.stat().st_dev, place.spool.stat().st_ino
        in_jail = such_that("one inside the spool directory", lambda seen: seen in process.inside(place.spool))
        when = "of smap before the client's first byte"
        smap = served(place.connect())
        wait_for(place, f"the root {when}", smap, process.root, exactly(jail))
        wait_for(place, f"the working directory {when}", smap, process.working_directory, in_jail)
        expect_no_way_out(place, smap, when)


@pytest.mark.rule("PRIV-01")
def test_an_inherited_directory_is_no_way_out_of_the_jail(lab: Lab) -> None:
    with open_directory() as outside, lab.place(descriptors=(outside,)) as place:
        expect_no_way_out(place, served(place.connect()), "of a smap that was started with one")


def expect_no_way_out(place: Place, smap: Callable[[], list[int]], when: str) -> None:
    """The process holds no directory outside the spool open."""

    def outside(pid: int) -> list[str]:
        jail, held = process.inside(place.spool), process.descriptors(pid)
        return [each.describe() for each in held if each.kind == "directory" and each.identity not in jail]

    wait_for(place, f"the open directories outside the jail {when}", smap, outside, exactly([]))


@pytest.mark.rule("PRIV-02")
@pytest.mark.parametrize("mode", MODES)
def test_smap_is_its_user_and_nobody_else(lab: Lab, mode: str) -> None:
    if not lab.sandbox.means.user_change:
        not_measured(AS_ROOT)
    with lab.place(mode=mode) as place:
        what = "real, effective, saved and file system uid of smap before the client's first byte"
        wait_for(place, what, served(place.connect()), process.uids, exactly((place.sandbox.user.uid,) * 4))


@pytest.mark.rule("PRIV-03")
@pytest.mark.parametrize("mode", MODES)
def test_smap_has_lost_the_groups_it_was_started_with(lab: Lab, mode: str) -> None:
    if not lab.sandbox.means.user_change:
        not_measured(AS_ROOT)
    user = lab.sandbox.user
    foreign = set(ROOTS_GROUPS) - set(os.getgrouplist(user.name, user.gid))

    def privileged(pid: int) -> list[int]:
        status = process.status(pid)
        return sorted(({*status.gids} | status.groups) & foreign)

    with lab.place(mode=mode, groups=ROOTS_GROUPS) as place:
        what = f"those of root's groups {sorted(foreign)} that smap holds before the client's first byte"
        wait_for(place, what, served(place.connect()), privileged, exactly([]))


# The chroot or the change of ids fails

WITHHELD = {
    "chroot": (namespace.CAP_SYS_CHROOT,),
    "change of user": (namespace.CAP_SETUID,),
    "change of groups": (namespace.CAP_SETGID,),
    "change of user and groups": (namespace.CAP_SETUID, namespace.CAP_SETGID),
}


def without(lab: Lab, what: str) -> Place:
    """A place where the kernel refuses this to the programs."""
    means, withheld = lab.sandbox.means, frozenset(WITHHELD[what])
    if what != "chroot" and not means.user_change:
        not_measured(AS_ROOT)
    if not means.withholding and means.chroot:
        not_measured("a program can be started without one of root's capabilities only with CAP_SETPCAP")
    return lab.place(withheld=withheld)


@pytest.mark.rule("PRIV-04")
@pytest.mark.parametrize("what", WITHHELD)
def test_no_mail_where_the_kernel_refuses(lab: Lab, what: str) -> None:
    with without(lab, what) as place:
        smap_takes_no_mail(place, f"a {what} that the kernel refuses", with_status=False)


@pytest.mark.rule("PRIV-04")
def test_no_mail_where_smap_may_not_become_its_user(lab: Lab) -> None:
    """As root with the right taken away; a plain user has no right to become somebody else."""
    with without(lab, "change of user") if lab.sandbox.means.root else lab.place() as place:
        place.table(smap={"userid": place.sandbox.user.uid + 1})
        place.spool.chmod(0o777)
        smap_takes_no_mail(place, "a userid that smap may not become", with_status=False)


# smapd and what it starts


@pytest.mark.rule("PRIV-05")
def test_smapd_its_copies_and_the_mailer_are_its_user(place: Place) -> None:
    if not place.sandbox.means.user_change:
        not_measured(AS_ROOT)
    uid = place.sandbox.user.uid
    place.mailer.script(always(HANGS))
    place.gather()
    smapd = place.start_smapd()
    place.wait_runs(1)
    daemons = smapd.daemons()
    below = [pid for daemon in daemons for pid in offspring.descendants(daemon)]
    both = such_that(
        "1 or more, and 2 or more below: a copy and the mailer", lambda seen: seen[0] >= 1 and seen[1] >= 2
    )
    expect("daemons, and processes below them while the mailer runs", (len(daemons), len(below)), both)
    for pid in (*daemons, *below):
        what = f"uids of `{offspring.command_line(pid)}`"
        wait_for(place, what, [pid].copy, process.uids, exactly((uid,) * 4))
    expect("the uids that the mailer sees", place.mailer.runs()[0].uids, exactly((uid,) * 3))


@pytest.mark.rule("PRIV-05")
def test_smapd_does_not_start_where_it_cannot_become_its_user(lab: Lab) -> None:
    with without(lab, "change of user") as place:
        place.put("message", b"a file that no smapd should open\n")
        smapd_does_not_start(place, "a change of user that the kernel refuses")


ODD = {
    "IFS": "/odd-ifs",
    "BASH_ENV": "/odd/bash_env",
    "ENV": "/odd/env",
    "LD_LIBRARY_PATH": "/odd/libraries",
    "MAILRC": "/odd/mailrc",
    "SMAPLAB_ODD": "/odd/own",
}


@pytest.mark.rule("PRIV-09")
def test_the_mailer_inherits_neither_variables_nor_descriptors(lab: Lab) -> None:
    with open_directory() as one, lab.place(descriptors=(one,), variables=ODD) as place:
        place.gather()
        place.start_smapd()
        run = place.wait_runs(1)[0]
    inherited = {name: value for name, value in run.environment.items() if value in ODD.values()}
    expect("variables of smapd's starter that reach the mailer", inherited, exactly({}))
    more = {number: link for number, link in run.descriptors.items() if number > 2}
    expect("descriptors of the mailer beyond 0, 1 and 2", more, exactly({}))


# What smap holds while it serves


@pytest.mark.rule("PRIV-10")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("leaky", [False, True], ids=["as it is", "started with more"])
def test_smap_holds_the_socket_the_log_and_its_file(lab: Lab, mode: str, leaky: bool) -> None:
    with open_directory() as one, lab.place(mode=mode, descriptors=(one,) if leaky else ()) as place:
        session = place.open_session()
        envelope(session)
        ask(session, b"DATA", GO_ON)
        session.send(b"Subject: half\r\n\r\n" + b"a line\r\n" * 10_000)
        session.wait_read()
        what = "what smap holds in the middle of DATA besides the socket, the log and its spool file"
        foreign = partial(foreign_descriptors, place, session)
        wait_for(place, what, partial(process.serving, session), foreign, exactly([]))


def foreign_descriptors(place: Place, session: Session, pid: int) -> list[str]:
    """What is neither the client's connection, nor the log, nor in the jail, nor without any place (pipes, epoll …)."""
    jail, network = process.inside(place.spool), network_inodes()

    def own(each: process.Descriptor) -> bool:
        if each.kind == "socket":
            return each.identity[1] == session.inode_at_the_target() or each.identity[1] not in network
        return each.identity in jail or not each.link.startswith("/") or each.link == "/dev/null"

    return [each.describe() for each in process.descriptors(pid) if not own(each)]
