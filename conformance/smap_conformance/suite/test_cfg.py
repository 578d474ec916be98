"""CFG: tables that work, however they are written; what each clause does, and what its absence does."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import pytest
from smap_simulator.mailer import PERMFAIL, always

from smap_conformance import process, spool
from smap_conformance.arrival import expect_body, the_message
from smap_conformance.expect import codes, exactly, expect, miss, not_measured
from smap_conformance.lab import Lab
from smap_conformance.place import Place, Session
from smap_conformance.sandbox import ALLOW_NAMESPACES
from smap_conformance.suite.talk import ALICE, BODY, OK, SENDER, ask, finish, rows

TOO_MANY = codes("4xx", "5xx")


def recipients_up_to(session: Session, count: int, what: str) -> None:
    """MAIL, `count` recipients that must be taken, and one more that must not; then QUIT."""
    ask(session, b"MAIL FROM:<%s>" % SENDER, OK)
    for number in range(count):
        expect(
            f"reply to RCPT number {number + 1} with {what}", session.command(b"RCPT TO:<r%d@localhost>" % number), OK
        )
    one_more = session.command(b"RCPT TO:<one-more@localhost>")
    expect(f"reply to RCPT number {count + 1} with {what}", one_more, TOO_MANY)
    finish(session)


def write_table(place: Place, text: str) -> None:
    """A table from a text with the site's own paths and user put in."""
    place.raw_table(
        text.format(
            user=place.sandbox.user.name,
            spool=place.spool,
            executable=place.target.executable,
            mailer=place.mailer.path,
            bad=place.baddir,
        )
    )


def expect_obeyed(place: Place, maxrecip: int, what: str) -> None:
    """Mail goes all the way, as the user of the table, and its maxrecip is the one in force."""
    recipients_up_to(place.open_session(), maxrecip, what)
    place.gather()
    message = the_message(place)
    expect_body(f"the message at the mailer with {what}", message.body, BODY)
    expect(f"the mailer's user ids with {what}", set(message.run.uids), exactly({place.sandbox.user.uid}))


# Where settings come from


@pytest.mark.rule("CFG-01")
def test_limits_and_directory_are_those_of_the_table_as_it_is_now(place: Place) -> None:
    other = place.disk / "other"
    other.mkdir()
    os.chown(other, place.sandbox.user.uid, place.sandbox.user.gid)
    for maxrecip, directory in ((1, place.spool), (3, other)):
        place.table(smap={"maxrecip": maxrecip, "directory": directory})
        recipients_up_to(place.open_session(), maxrecip, f"maxrecip {maxrecip} in the table")
        session = place.open_session()
        expect("reply to the end of data", place.send_mail(session), OK)
        finish(session)
        expect(f"files in the directory {directory.name} of the table", len(spool.listing(directory)), exactly(1))
    expect("files in the directory of the table before", len(place.entries()), exactly(1))


@pytest.mark.rule("CFG-01")
def test_both_programs_work_without_an_argument(place: Place) -> None:
    place.gather()
    message = the_message(place)
    expect("the mailer of the table", message.run.argv[0], exactly(str(place.mailer.path)))
    expect_body("the message at the mailer", message.body, BODY)


# How lines are written

OWN = "smap: maxrecip 2\nsmapd: executable {executable}\nsmapd: sendmail {mailer}\nsmapd: wakeup 1\n"
SHARED = ("userid {user}", "directory {spool}")
WRITINGS: dict[str, tuple[str, str]] = {
    "one name": ("smap: {0}\nsmapd: {0}\n", OWN),
    "two names": ("smap, smapd: {0}\n", OWN),
    "two names, the other order": ("smapd, smap: {0}\n", OWN),
    "among other names": ("tn-gw, smap, ftp-gw, smapd, netacl-fingerd: {0}\n", OWN),
    "no blank": ("smap,smapd:{0}\n", OWN.replace(": ", ":")),
    "many blanks": ("smap   ,    smapd:     {0}\n", OWN.replace(": ", ":      ")),
    "tabs": ("smap\t,\t\tsmapd:\t\t{0}\n", OWN.replace(": ", ":\t\t")),
    "blanks and tabs": ("smap \t,\t smapd: \t {0}\n", OWN.replace(": ", ": \t ")),
    "a tab between clause and value": (
        "smap, smapd: {0}\n",
        OWN.replace("recip ", "recip\t").replace("up ", "up\t\t "),
    ),
    "own lines first": ("", OWN + "smap, smapd: userid {user}\nsmap, smapd: directory {spool}\n"),
}


@pytest.mark.rule("CFG-02")
@pytest.mark.parametrize(("shared", "own"), rows(WRITINGS))
def test_a_line_may_be_written_in_many_ways(place: Place, shared: str, own: str) -> None:
    write_table(place, "".join(shared.replace("{0}", setting) for setting in SHARED) + own)
    expect_obeyed(place, 2, f"the table {place.table_text!r}")


REMARKS = """\
#
# smap: maxrecip 1
#smap: maxrecip 1
#smap, smapd: userid root
#
   \t

smap, smapd: userid {user}
# smap, smapd: directory /
smap, smapd: directory {spool}
\t
#################### : : : ####################
# a remark without a colon, and one with: a colon, and # another
smap: maxrecip 2
#smap: maxrecip 1
#smapd: sendmail /bin/false
smapd: executable {executable}
smapd: sendmail {mailer}
smapd: wakeup 1
#smapd: executable /bin/false

#"""


@pytest.mark.rule("CFG-03")
def test_remarks_and_blank_lines_are_skipped(place: Place) -> None:
    write_table(place, REMARKS)
    expect_obeyed(place, 2, "a table full of remarks")


GOOD = "smap, smapd: userid {user}\nsmap, smapd: directory {spool}\n" + OWN
# The proxies of the toolkit, and names that begin or end like ours.
OTHERS = ("tn-gw", "http-gw, ftp-gw", "netacl-smap", "smap-gw", "smapper", "smapd2", "xsmap", "sma", "authsrv")
HOSTILE = (
    "userid no-such-user-of-smaplab", "directory /no/such/directory", "maxrecip 1", "maxbytes 1", "timeout ten",
    "executable /bin/false", "sendmail /bin/false", "wakeup -1", "baddir /no/such/directory",
    "permit-hosts * -xok {{a b}}",
)  # fmt: skip
FOREIGN = "".join(f"{name}: {clause}\n" for name in OTHERS for clause in HOSTILE)


@pytest.mark.rule("CFG-04")
@pytest.mark.parametrize("table", rows({"before ours": FOREIGN + GOOD, "after ours": GOOD + FOREIGN}))
def test_lines_for_other_applications_change_nothing(place: Place, table: str) -> None:
    write_table(place, table)
    expect_obeyed(place, 2, "the proxies' lines in the table")


@pytest.mark.rule("CFG-05")
@pytest.mark.parametrize(
    "table",
    rows({
        "a limit": GOOD.replace("smap: maxrecip", "*: maxrecip"),
        "what both need": GOOD.replace("smap, smapd:", "*:"),
    }),
)  # fmt: skip
def test_a_star_means_every_program(place: Place, table: str) -> None:
    write_table(place, table)
    expect_obeyed(place, 2, "`*` in the place of a name")


# A sample in the manual's manner: its clauses, one by one, with tabs between name and clause.
SAMPLE = """\
# Mail: smap takes it, smapd hands it on
smap, smapd:\tuserid {user}
smap, smapd:\tdirectory {spool}
smap:\t\tmaxbytes 1048576
smap:\t\tmaxrecip 2
smap:\t\ttimeout 3600
smapd:\t\texecutable {executable}
smapd:\t\tsendmail {mailer}
smapd:\t\tbaddir {bad}
smapd:\t\twakeup 1
"""


@pytest.mark.rule("CFG-07")
def test_the_sample_table_works(place: Place) -> None:
    write_table(place, SAMPLE)
    expect_obeyed(place, 2, "the sample table")


UNKNOWN_CLAUSES = {"a slip of the pen": "maxbyte 5", "of another program": "permit-hosts 10.0.0.*", "alone": "xyzzy"}


@pytest.mark.rule("CFG-09")
@pytest.mark.parametrize("clause", rows(UNKNOWN_CLAUSES))
def test_what_an_unknown_clause_does(place: Place, clause: str, note: Callable[[str, str], None]) -> None:
    place.table()
    place.raw_table(f"{place.table_text}smap, smapd: {clause}\n")
    session = place.connect()
    reply = session.reply()
    smap = "works" if reply is not None and reply.code == 220 else "refuses"
    smapd = "refuses" if place.start_smapd().refused() else "works"
    named = any(clause.split(maxsplit=1)[0] in line for line in place.log())
    logged = f", {'named' if named else 'not named'} in the log" if place.sandbox.means.log else ""
    note("CFG-09", f"`{clause}`: smap {smap}, smapd {smapd}{logged}")


# userid


def expect_users(place: Place, uid: int, what: str) -> None:
    """The live smap and the mailer have this uid."""
    session = place.connect()
    session.greeting()
    ids = exactly((uid,) * 4)
    process.wait_for(place, f"user ids of smap with {what}", lambda: [session.pid], process.uids, ids)
    finish(session)
    place.gather()
    expect(f"user ids of the mailer with {what}", set(the_message(place).run.uids), exactly({uid}))


@pytest.mark.rule("CFG-06")
@pytest.mark.parametrize("form", ["a name", "a number"])
def test_userid_takes_a_name_and_a_number(place: Place, form: str) -> None:
    user = place.sandbox.user
    if not place.sandbox.means.user_change:
        not_measured("a program can change its user only where it is started as root")
    value = user.name if form == "a name" else str(user.uid)
    place.table(smap={"userid": value}, smapd={"userid": value})
    expect_users(place, user.uid, f"userid {value}")


@pytest.mark.rule("CFG-06")
def test_userid_takes_the_number_of_no_account(place: Place) -> None:
    if not place.sandbox.means.user_change:
        not_measured("a program can change its user only where it is started as root")
    number = 54_321
    for directory in (place.spool, place.baddir):
        os.chown(directory, number, number)
    place.table(smap={"userid": number}, smapd={"userid": number})
    expect_users(place, number, f"userid {number}, a number without an account")


# wakeup


@pytest.mark.rule("CFG-11")
def test_wakeup_is_the_time_between_scans(lab: Lab) -> None:
    """A minute and an hour are not waited for: within three scans of a smapd of one second, neither may come round."""
    started_s = time.monotonic()
    with lab.place() as second, lab.place() as minute, lab.place() as hour:
        wakeups = ((second, 1), (minute, None), (hour, 3600))
        for place, wakeup in wakeups:
            place.table(smapd={"wakeup": wakeup})
            first = place.gather()
            place.start_smapd()
            place.wait_gone(first)
        second.table(smapd={"wakeup": 1})
        second.wait_scans()  # what the other two still had in hand of their first scan is over by then
        later = []
        for place, wakeup in wakeups[1:]:
            place.table(smapd={"wakeup": wakeup})
            later.append((place, wakeup, place.gather()))
        second.table(smapd={"wakeup": 1})
        second.wait_scans(3)
        for place, wakeup, file in later:
            if wakeup is None and time.monotonic() - started_s > 50:
                continue  # so slow a machine can have seen the scan after a minute
            left = [entry.name for entry in place.whole()]
            what = f"the spool with {f'wakeup {wakeup}' if wakeup else 'no wakeup clause (60)'}, some seconds later"
            expect(what, left, exactly([file.name]))


# No limits


@pytest.mark.rule("CFG-12")
def test_without_limits_there_are_none(place: Place) -> None:
    place.table(smap={"maxbytes": None, "maxrecip": None, "timeout": None})
    recipients = [b"r%d@localhost" % number for number in range(400)]
    body = b"Subject: large\r\n\r\n" + (b"0123456789 " * 80 + b"\r\n") * 6_000  # 5 MB
    session = place.open_session()
    session.quiet(1.2)
    reply = place.send_mail(session, SENDER, recipients, body)
    expect("reply to the end of 5 MB to 400 recipients, after a pause", reply, OK)
    finish(session)
    message = the_message(place)
    expect("recipients at the mailer", message.recipients, exactly(tuple(recipients)))
    expect_body("the message at the mailer", message.body, body)


# baddir


@pytest.mark.rule("CFG-13")
@pytest.mark.parametrize("slashes", ["/", "//"])
def test_a_baddir_with_a_slash_at_its_end_is_refused_or_works(
    place: Place, slashes: str, note: Callable[[str, str], None]
) -> None:
    place.mailer.script(always(PERMFAIL))
    file = place.gather(recipients=(ALICE,))
    place.table(smapd={"baddir": f"{place.baddir}{slashes}"})
    refused = place.start_smapd().refused()
    note("CFG-13", f"baddir with {slashes} at its end: {'refused' if refused else 'works'}")
    if not refused:
        place.wait_gone(file)
    found = place.entries() if refused else place.bad_entries()
    where = "the spool of a smapd that refuses" if refused else "baddir, after its mailer refused the message"
    expect(f"whole messages in {where}", [(each.whole, each.sha256) for each in found], exactly([(True, file.sha256)]))


@pytest.mark.rule("CFG-14")
def test_a_baddir_on_another_device_is_refused_or_logged(lab: Lab, note: Callable[[str, str], None]) -> None:
    if not lab.sandbox.means.tmpfs:
        not_measured(f"no second device without a mount namespace: {ALLOW_NAMESPACES}")
    with lab.place(disk_bytes=1 << 20) as place:
        elsewhere = place.root / "elsewhere"
        elsewhere.mkdir()
        os.chown(elsewhere, place.sandbox.user.uid, place.sandbox.user.gid)
        expect_two_devices(place, elsewhere)
        first = place.gather()
        place.table(smapd={"baddir": elsewhere})
        refused = place.start_smapd().refused()
        note("CFG-14", "refused" if refused else "logged")
        if refused:
            return
        place.wait_gone(first)
        lines = place.log()
        if not any("baddir" in line or str(elsewhere) in line for line in lines):
            what = "smapd with baddir on another device than the spool"
            miss(what, "a refusal, or a line in the log that names baddir", "; ".join(lines) or "nothing logged")


def expect_two_devices(place: Place, elsewhere: Any) -> None:
    """The harness's own footing: the spool is on a tmpfs of its own here."""
    if place.spool.stat().st_dev == elsewhere.stat().st_dev:
        raise OSError(f"{place.spool} and {elsewhere} are on one device")
