"""smapd as a real process: how it starts, what it takes, how many at a time, how it ends."""

import contextlib
import fcntl
import os
import pty
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from own_log import Log, pid_of
from own_mailer import Mailer, files, heading, message, put
from programs import USER, Installation, is_running, only_child, until

StartSmapd = Callable[..., int]
SCAN_ONCE = {"wakeup": 3600}


# How it starts


@pytest.mark.parametrize(
    ("clauses", "line"),
    [
        ({"wakeup": "soon"}, "wakeup soon: give a whole number, 1 or more; leave the line out for the default"),
        ({"wakeup": "0"}, "wakeup 0: give a whole number"),
        ({"wakup": "1"}, "wakup: unknown clause; the clauses are baddir "),
        ({"executable": None}, "no line `smapd: executable …`"),
        ({"executable": "smapd"}, "executable smapd: give one absolute path"),
        ({"executable": "/nonexistent"}, "executable /nonexistent: not there, or not executable for userid"),
        ({"executable": "/tmp"}, "executable /tmp: not there, or not executable for userid"),
        ({"directory": None}, "no line `smapd: directory …`"),
        ({"directory": "/nonexistent"}, "directory /nonexistent: No such file or directory"),
        ({"directory": "/"}, "directory /: not there, or not writable for userid"),
        ({"baddir": "/nonexistent"}, "baddir /nonexistent: not there, or not writable for userid"),
        ({"baddir": "/etc/passwd"}, "baddir /etc/passwd: not a directory for userid"),
        ({"baddir": "/dev/shm"}, "baddir /dev/shm: on another device than the spool directory"),
        ({"userid": None}, "no line `smapd: userid …`: started as root"),
        ({"userid": "root"}, "userid root: the superuser, or in group 0"),
        ({"userid": "no-such-user"}, "userid no-such-user: no such user"),
        ({"sendmail": "mail"}, "sendmail mail: give the absolute path of a mailer"),
    ],
)  # fmt: skip
def test_a_table_of_no_use_is_refused_on_stderr(place: Installation, clauses: dict[str, object], line: str) -> None:
    place.table(smapd=clauses)
    log = Log(place.root, is_there=False)
    smapd = place.start(*log.before, place.smapd, stderr=subprocess.PIPE)
    _, said = smapd.communicate()
    assert smapd.returncode == 78
    assert said.count(b"\n") == 1
    assert said.startswith(f"smapd: refused to start: {place.table_path}".encode())
    assert line.encode("ascii", "backslashreplace") in said


def test_a_baddir_that_is_the_spool_directory_is_refused(place: Installation) -> None:
    place.table(smapd={"baddir": place.spool})
    smapd = place.start(place.smapd, stderr=subprocess.PIPE)
    smapd.communicate()
    assert smapd.returncode == 78


def test_a_baddir_that_is_a_program_is_refused(place: Installation, log: Log) -> None:
    put(place.root, "program", b"")
    place.table(smapd={"baddir": place.root / "program"})
    assert place.start(*log.before, place.smapd, stderr=subprocess.DEVNULL).wait() == 78
    assert "Not a directory; name a directory" in log.seen("refused to start: ")


def test_a_table_that_the_copies_could_not_read_is_refused(place: Installation, log: Log) -> None:
    place.table_path.chmod(0o600)
    assert place.start(*log.before, place.smapd, stderr=subprocess.DEVNULL).wait() == 78
    assert "not readable for userid" in log.seen("refused to start: ")


def test_the_log_and_stderr_both_hear_a_refusal(place: Installation, log: Log) -> None:
    place.table_path.unlink()
    smapd = place.start(*log.before, place.smapd, stderr=subprocess.PIPE)
    _, said = smapd.communicate()
    assert smapd.returncode == 78
    assert b"No such file or directory; put netperm-table there, readable" in said
    log.seen("No such file or directory; put netperm-table there, readable")


@pytest.mark.parametrize("arguments", [["-d"], ["a", "b"], ["../x"], [""], ["."], [".."]])
def test_other_arguments_than_a_name_are_refused(place: Installation, arguments: list[str]) -> None:
    smapd = place.start(place.smapd, *arguments, stderr=subprocess.PIPE)
    smapd.communicate()
    assert smapd.returncode == 64


def test_without_the_right_to_change_users_it_does_not_start(place: Installation, log: Log) -> None:
    smapd = place.start("setpriv", "--bounding-set", "-setgid", "--", *log.before, place.smapd)
    assert smapd.wait() == 71


def test_an_ordinary_user_needs_no_userid(place: Installation, log: Log, mailer: Mailer) -> None:
    place.table(smapd={"userid": None, "sendmail": mailer.path})
    smapd = place.start(*log.before, "setpriv", "--reuid", USER, "--clear-groups", "--regid", "65534", place.smapd)
    message(place, "one")
    log.seen(" delivered file=one ")
    smapd.terminate()
    assert smapd.wait() == 0


def test_a_user_by_number_without_an_account(place: Installation, log: Log, mailer: Mailer) -> None:
    for directory in (place.spool, place.baddir):
        os.chown(directory, 54321, 54321)
    place.table(smapd={"userid": 54321, "sendmail": mailer.path})
    smapd = place.start(*log.before, place.smapd)
    log.seen(" started ")
    status = Path(f"/proc/{smapd.pid}/status").read_text("ascii")
    assert "\nUid:\t54321\t54321\t54321\t54321\n" in status
    assert "\nGid:\t54321\t54321\t54321\t54321\n" in status
    assert "\nGroups:\t \n" in status


@contextlib.contextmanager
def ended(pid: int) -> Iterator[None]:
    """A daemon has no parent that could end it: here it is ended by its number."""
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_from_a_shell_it_becomes_a_daemon(place: Installation, log: Log, mailer: Mailer) -> None:
    place.table(smapd={"sendmail": mailer.path})
    starter = place.start("sh", "-c", '"$@" && echo all is well', "sh", *log.before, place.smapd, stdout=-1)
    assert starter.stdout is not None
    with starter.stdout:
        assert starter.stdout.read() == b"all is well\n"  # to the end: the daemon has let go of it
    assert starter.wait() == 0
    pid = pid_of(log.seen(" started "))
    with ended(pid):
        assert os.getsid(pid) not in (pid, os.getsid(starter.pid) if starter.poll() is None else starter.pid)
        assert {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1, 2)} == {"/dev/null"}
        assert os.readlink(f"/proc/{pid}/cwd") == str(place.spool)
        message(place, "one")
        log.seen(" delivered file=one ")
        os.kill(pid, signal.SIGTERM)
        log.seen("stopped")
        until("its end", lambda: not is_running(pid))


def test_on_a_terminal_of_its_own_it_becomes_a_daemon_too(place: Installation, log: Log) -> None:
    ours, its = pty.openpty()
    with open(ours, "rb", closefd=True), open(its, "rb", closefd=True) as terminal:
        # A session leader, as `setsid` makes one, but with a terminal.
        starter = place.start("setsid", "--ctty", *log.before, place.smapd, stdin=terminal, start_new_session=False)
        assert starter.wait() == 0
        pid = pid_of(log.seen(" started "))
        with ended(pid):
            assert pid != starter.pid
            os.kill(pid, signal.SIGTERM)
            log.seen("stopped")
            until("its end", lambda: not is_running(pid))


def test_no_process_for_the_daemon(place: Installation, log: Log) -> None:
    user = str(int(subprocess.run(["id", "-u", USER], capture_output=True, check=True).stdout))
    starter = place.start(
        "sh", "-c", '"$@"; exit $?', "sh", *log.before,
        "setpriv", "--reuid", user, "--regid", user, "--clear-groups", "prlimit", "--nproc=0", "--", place.smapd,
    )  # fmt: skip
    place.table(smapd={"userid": None})
    assert starter.wait() == 71
    log.seen("refused to start: fork: Resource temporarily unavailable")


def test_supervised_it_stays_in_the_foreground(place: Installation, smapd: StartSmapd, log: Log) -> None:
    pid = smapd()
    assert pid_of(log.seen(f" started directory={place.spool} wakeup=1")) == pid


def test_standard_descriptors_that_were_closed_are_no_spool_file(place: Installation, log: Log, mailer: Mailer) -> None:
    place.table(smapd={"sendmail": mailer.path})
    place.start(*log.before, "sh", "-c", 'exec "$0" <&- >&- 2>&-', place.smapd)
    message(place, "one")
    log.seen(" delivered file=one ")
    until("an empty spool directory", lambda: not files(place.spool))


# How it ends


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_idle_it_ends_at_once(place: Installation, log: Log, number: int) -> None:
    place.table(smapd={"wakeup": 3600})
    smapd = place.start(*log.before, place.smapd)
    log.seen(" started ")
    smapd.send_signal(number)
    assert smapd.wait() == 0
    log.seen("stopped")


def test_what_is_under_way_is_finished_and_nothing_new_begun(place: Installation, log: Log, mailer: Mailer) -> None:
    place.table(smapd={"sendmail": mailer.path, "deliveries": 1})
    message(place, "a", "gate@a.example")
    message(place, "b", "gate@a.example")
    smapd = place.start(*log.before, place.smapd)
    mailer.wait_for_runs(1)
    smapd.terminate()
    until(
        "the signal to be taken", lambda: "SigPnd:\t0000000000000000\nShdPnd:\t0000000000000000" in status_of(smapd.pid)
    )
    assert smapd.poll() is None
    mailer.open_gate()
    assert smapd.wait() == 0
    log.seen("stopped")
    assert files(place.spool) == {"b"}
    assert len(mailer.runs()) == 1


def status_of(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text("ascii")


def test_a_copy_that_is_told_to_stop_finishes(place: Installation, smapd: StartSmapd, log: Log, mailer: Mailer) -> None:
    message(place, "one", "gate@a.example")
    pid = smapd(**SCAN_ONCE)
    mailer.wait_for_runs(1)
    os.kill(only_child(pid), signal.SIGTERM)
    mailer.open_gate()
    log.seen(" delivered file=one ")
    until("an empty spool directory", lambda: not files(place.spool))


# What it takes, and how many at a time


def test_no_more_deliveries_at_a_time_than_the_table_says(
    place: Installation, smapd: StartSmapd, log: Log, mailer: Mailer
) -> None:
    for number in range(5):
        message(place, f"m{number}", "gate@a.example")
    pid = smapd(deliveries=2)
    mailer.wait_for_runs(2)
    until("smapd to sleep", lambda: "\nState:\tS " in status_of(pid))
    assert len(Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()) == 2
    mailer.open_gate()
    log.seen(" delivered ", times=5)
    assert len(mailer.runs()) == 5


def test_new_mail_goes_before_what_was_kept(place: Installation, smapd: StartSmapd, log: Log) -> None:
    message(place, "a-old", "exit-75@a.example")
    smapd(deliveries=1)
    log.seen(" kept file=a-old ")
    message(place, "z-new", "exit-75@a.example")
    log.seen(" kept file=z-new ")
    seen = [line.split(" file=")[1].split()[0] for line in log.lines if " kept " in line]
    assert seen.index("z-new") <= 2
    log.seen(" kept file=a-old ", times=3)  # and it is still tried


def test_only_whole_unlocked_messages_are_touched(place: Installation, smapd: StartSmapd, log: Log) -> None:
    inside = place.spool / "bad"
    inside.mkdir(mode=0o755)
    shutil.chown(inside, USER)
    text = heading("s@b.example", "r@b.example")
    for name, mode in (("partial", 0o644), ("private", 0o700), ("open", 0o777), ("setuid", 0o4755), ("none", 0)):
        put(place.spool, name, text, mode)
    put(place.root, "elsewhere", text)
    (place.spool / "link").symlink_to(place.root / "elsewhere")
    (place.spool / "dangling").symlink_to("nothing")
    os.mkfifo(place.spool / "pipe")
    (place.spool / "pipe").chmod(0o755)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(place.spool / "socket"))
        (place.spool / "socket").chmod(0o755)
        before = files(place.spool)
        smapd(baddir=inside)
        message(place, "refused", "exit-67@a.example")
        log.seen(" aside file=refused ")
        message(place, "z-last")  # a later scan has seen all the others
        log.seen(" delivered file=z-last ")
        until("the last to be removed", lambda: files(place.spool) == before)
    assert files(inside) == {"refused"}
    assert not [line for line in log.lines if " error " in line]


@pytest.mark.parametrize("take", [fcntl.flock, fcntl.lockf])
def test_a_locked_message_is_left_alone_until_it_is_free(
    place: Installation, smapd: StartSmapd, log: Log, mailer: Mailer, take: Callable[[int, int], None]
) -> None:
    path = message(place, "locked")
    with path.open("rb+") as held:
        take(held.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        smapd()
        for number in range(2):  # a scan each
            message(place, f"other{number}")
            log.seen(f" delivered file=other{number} ")
        assert by_hand(place, log, "locked") == 75
        assert log.count("file=locked") == 0
    log.seen(" delivered file=locked ")


def test_one_smapd_keeps_another_out(place: Installation, smapd: StartSmapd, log: Log, mailer: Mailer) -> None:
    message(place, "one", "gate@a.example")
    smapd()
    mailer.wait_for_runs(1)
    second = place.start(*log.before, place.smapd)
    message(place, "two")
    log.seen(" delivered file=two ")
    assert by_hand(place, log, "one") == 75
    mailer.open_gate()
    log.seen(" delivered file=one ")
    second.terminate()
    assert second.wait() == 0
    assert sorted(run.arguments[1] for run in mailer.runs()) == ["gate@a.example", "s@b.example"]


def by_hand(place: Installation, log: Log, name: str) -> int:
    return place.start(*log.before, place.smapd, name).wait()


@pytest.mark.parametrize(
    ("sender", "status"), [("s@b.example", 0), ("exit-67@a.example", 0), ("exit-75@a.example", 75)]
)
def test_by_hand(place: Installation, log: Log, mailer: Mailer, sender: str, status: int) -> None:
    place.table(smapd={"sendmail": mailer.path})
    message(place, "one", sender)
    message(place, "other")
    assert by_hand(place, log, "one") == status
    assert files(place.spool) == ({"one", "other"} if status else {"other"})
    assert len(mailer.runs()) == 1


def test_by_hand_there_must_be_a_whole_message(place: Installation, log: Log, mailer: Mailer) -> None:
    place.table(smapd={"sendmail": mailer.path})
    put(place.spool, "partial", heading("s@b.example", "r@b.example"), 0o644)
    assert by_hand(place, log, "partial") == by_hand(place, log, "nothing") == 75
    assert mailer.runs() == []
