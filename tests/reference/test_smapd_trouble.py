"""smapd as a real process on a machine that lets it down: no table, no copies, no directory, no log."""

import os
import signal
from collections.abc import Callable

from own_log import Log
from own_mailer import Mailer, files, message
from programs import Installation, below, only_child, until

StartSmapd = Callable[..., int]


def test_a_table_that_becomes_unreadable_keeps_the_mail_until_it_is_mended(
    place: Installation, smapd: StartSmapd, log: Log
) -> None:
    smapd()
    log.seen(" started ")
    place.table_path.chmod(0)
    message(place, "one")
    log.seen('error file=one reason="the copy ended with status 78"')
    place.table_path.chmod(0o644)
    log.seen(" delivered file=one ")


def test_a_copy_that_is_killed_keeps_the_message(
    place: Installation, smapd: StartSmapd, log: Log, mailer: Mailer
) -> None:
    message(place, "one", "gate@a.example")
    pid = smapd()
    mailer.wait_for_runs(1)
    os.kill(only_child(pid), signal.SIGKILL)
    log.seen('error file=one reason="the copy was killed by signal 9"')
    for number in range(2):  # two scans: its mailer goes on, so it is locked
        message(place, f"other{number}")
        log.seen(f" delivered file=other{number} ")
    assert log.count("file=one") == 1
    mailer.open_gate()
    log.seen(" delivered file=one ")


def test_a_program_for_the_copies_that_goes_away(place: Installation, smapd: StartSmapd, log: Log) -> None:
    smapd()
    log.seen(" started ")
    place.smapd.rename(place.root / "away")
    message(place, "one")
    log.seen('error file=one reason="No such file or directory"')
    (place.root / "away").rename(place.smapd)
    log.seen(" delivered file=one ")


def test_a_spool_directory_that_cannot_be_listed_or_a_file_that_cannot_be_read(
    place: Installation, smapd: StartSmapd, log: Log
) -> None:
    smapd()
    log.seen(" started ")
    os.chown(message(place, "roots"), 0, 0)
    (place.spool / "roots").chmod(0o755)
    place.spool.chmod(0)
    log.seen('error file=- reason="Permission denied"')
    place.spool.chmod(0o755)
    log.seen(" delivered file=roots ")  # in a directory of its own, it may


def test_a_child_that_is_not_its_own_is_no_delivery(place: Installation, log: Log, mailer: Mailer) -> None:
    place.table(smapd={"sendmail": mailer.path, "wakeup": 3600})
    message(place, "one", "gate@a.example")
    # The shell's child becomes smapd's by exec, and ends under it.
    script = f'(while [ ! -e {mailer.folder}/gate ]; do sleep 0.02; done; exit 72) & exec "$0"'
    smapd = place.start(*log.before, "sh", "-c", script, place.smapd)
    mailer.wait_for_runs(1)
    mailer.open_gate()
    log.seen(" delivered file=one ")
    until("its children to end", lambda: not below(smapd.pid))
    smapd.terminate()
    assert smapd.wait() == 0
    assert log.count(" error ") == 0


def test_a_log_daemon_that_goes_away_stops_no_mail(place: Installation, smapd: StartSmapd, log: Log) -> None:
    smapd()
    log.seen(" started ")
    log.close()
    message(place, "one")
    until("an empty spool directory", lambda: not files(place.spool))
