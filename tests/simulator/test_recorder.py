"""The recorder on short logs: what strace writes, read; and what it cannot say, noted."""

from __future__ import annotations

import pytest
from smap_simulator import client, history
from smap_simulator.crash import live
from smap_simulator.history import Close, Create, Event, Failed, Fsync, Lock, Open, Rename, Reply, Spawn, Unlock, Write
from smap_simulator.image import FILE, Node, spool_image
from smap_simulator.recorder import strace
from smap_simulator.recorder.record import Log, Setting, record
from smap_simulator.recorder.strace import Call, TraceError
from strace_text import EXECUTABLE, MAILER, items, log_text, recorded

CREATE = '1 openat(AT_FDCWD</d/spool>, "m1", O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0644) = 4</d/spool/m1>'


def calls(text: str) -> list[Call]:
    return strace.calls(items(text))


def kinds(events: tuple[Event, ...]) -> list[str]:
    return [type(event).__name__ for event in events]


# Reading


def test_a_call_is_read_with_its_arguments_and_its_end() -> None:
    (call,) = calls('7 write(4</d/spool/m1>, "a, (b\\"\\n", 7) = 7 <0.000012>')
    assert (call.pid, call.program, call.name, call.result, call.errno) == (7, "smap", "write", 7, 0)
    assert strace.descriptor_of(call.arguments[0]) == (4, "/d/spool/m1")
    assert strace.bytes_of(call.arguments[1]) == b'a, (b"\n'
    assert (call.began_s, round(call.ended_s - call.began_s, 6)) == (1000.0, 0.000012)


@pytest.mark.parametrize(
    ("rest", "result", "errno", "injected"),
    [
        ("= 0", 0, 0, False),
        ("= 0x7f00", 0x7F00, 0, False),
        ("= -1 EIO (Input/output error) (INJECTED)", -1, 5, True),
        ("= -1 ENOENT (No such file or directory)", -1, 2, False),
        ("= 0 (INJECTED) <0.000100>", 0, 0, True),
        ("= 1 (DELAYED) <0.000100>", 1, 0, False),
        ("= ? ERESTARTSYS (To be restarted if SA_RESTART is set)", None, 512, False),
        ("= ?", None, 0, False),
        ("= 022", 0o22, 0, False),
        ("= 3</d/spool/x = 1>(deleted)", 3, 0, False),
        ("= 0x2 (flags O_RDWR)", 2, 0, False),
    ],
)
def test_every_way_to_come_back(rest: str, result: int | None, errno: int, injected: bool) -> None:
    (call,) = calls(f"1 fsync(4</d/spool/m1>) {rest}")
    assert (call.result, call.errno, call.injected) == (result, errno, injected)


def test_occurrences_are_counted_by_process_and_name() -> None:
    found = calls("1 fsync(4) = 0\n1 fdatasync(4) = 0\n2 fsync(4) = 0\n1 fsync(4) = -1 EIO (Input/output error)")
    assert [(call.pid, call.name, call.occurrence) for call in found] == [
        (1, "fsync", 1), (1, "fdatasync", 1), (2, "fsync", 1), (1, "fsync", 2),
    ]  # fmt: skip


def test_a_call_that_others_overlapped_is_put_together() -> None:
    found = calls('1 write(4</d/spool/m1>, "ab", <unfinished ...>\n2 fsync(3) = 0\n1 <... write resumed>2) = 2')
    assert [(call.name, call.began, call.ended) for call in found] == [("fsync", 2, 2), ("write", 1, 3)]
    assert found[1].arguments[1:] == ('"\\x61\\x62"', "2")


def test_what_a_killed_process_was_in_is_known() -> None:
    call, end = items("1 fsync(4</d/spool/m1> <unfinished ...>\n1 +++ killed by SIGKILL +++")
    assert isinstance(call, Call)
    assert (call.name, call.result, call.errno) == ("fsync", None, 0)
    assert isinstance(end, strace.Ended)
    assert end.status == -9


def test_a_process_that_was_killed_on_its_way_into_a_call() -> None:
    found = items(
        "1 ???( <unfinished ...>\n1 <... ??? resumed>) = ?\n1 ???() = ? <unavailable>\n1 +++ killed by SIGKILL +++"
    )
    assert [type(item).__name__ for item in found] == ["Call", "Call", "Ended"]
    assert [call.result for call in strace.calls(found)] == [None, None]


def test_a_line_that_is_still_being_written_is_left_out() -> None:
    text = log_text("1 fsync(4) = 0\n1 fsync(4) = 0")
    assert len(strace.read(text[:-3])) == 1


@pytest.mark.parametrize("line", ["garbage", "1 1.0 garbage", "1 1.0 fsync(4) = !"])
def test_a_line_that_is_none_is_named(line: str) -> None:
    with pytest.raises(TraceError, match="line 1: "):
        strace.read(line + "\n")


def test_which_program_a_process_runs() -> None:
    found = items(
        f'''1 execve("/bin/sh", ["sh", "-c", "x"], 0x7f) = 0
        1 execve("{EXECUTABLE}", ["{EXECUTABLE}"], 0x7f) = 0
        1 fork() = 2
        2 fsync(3) = 0
        2 vfork( <unfinished ...>
        3 execve("{EXECUTABLE}", ["{EXECUTABLE}", "m1"], 0x7f <unfinished ...>
        2 <... vfork resumed>) = 3
        3 <... execve resumed>) = 0
        3 clone(child_stack=NULL, flags=CLONE_VM|SIGCHLD) = 4
        4 execve("{MAILER}", ["{MAILER}", "-f", "x"], 0x7f) = 0
        4 fork() = 5
        5 execve("/bin/cat", ["cat"], 0x7f) = 0''',
        "smapd",
    )
    named = {call.pid: call.program for call in found}
    assert named == {1: "smapd", 2: "smapd", 3: "copy", 4: "mailer", 5: "mailer"}


# What the calls do


def test_a_message_is_gathered() -> None:
    told = recorded(
        f"""{CREATE}
        1 flock(4</d/spool/m1>, LOCK_EX|LOCK_NB) = 0
        1 write(4</d/spool/m1>, "hello", 5) = 5
        1 fsync(4</d/spool/m1>) = 0
        1 fchmod(4</d/spool/m1>, 0755) = 0
        1 close(4</d/spool/m1>) = 0
        1 +++ exited with 0 +++"""
    ).history
    file = max(told.start.nodes) + 1
    assert told.events == (
        Create(1, "smap", file, 2, "m1", 0o644),
        Lock(1, "smap", file, "flock", True),
        Write(1, "smap", file, 0, b"hello"),
        Fsync(1, "smap", file),
        history.Chmod(1, "smap", file, 0o755),
        Unlock(1, "smap", file, "flock"),
        Close(1, "smap", file),
        history.Exit(1, "smap", 0),
    )
    assert told.notes == ()


def test_the_old_calls_and_relative_paths_after_chdir_and_chroot() -> None:
    told = recorded(
        """1 chdir("/d/spool/../spool") = 0
        1 creat("m1", 0666) = 4</d/spool/m1>
        1 rename("m1", "/d/bad/m2") = 0
        1 chroot(".") = 0
        1 open("/m3", O_RDWR|O_CREAT, 0666) = 5</d/spool/m3>
        1 open("../../m4", O_RDWR|O_CREAT, 0666) = 6</d/spool/m4>
        1 link("m3", "m5") = 0
        1 unlink("/m3") = 0"""
    ).history
    assert sorted(path for path, _ in live(told).walk() if "m" in path) == ["/bad/m2", "/spool/m4", "/spool/m5"]
    assert told.notes == ()


def test_openat2_and_close_range() -> None:
    told = recorded(
        """1 openat2(AT_FDCWD</d/spool>, "m1", {flags=O_WRONLY|O_CREAT, mode=0640, resolve=0}, 24) = 4</d/spool/m1>
        1 openat(AT_FDCWD</d/spool>, "m1", O_RDONLY) = 5</d/spool/m1>
        1 close_range(4, 4294967295, CLOSE_RANGE_CLOEXEC) = 0
        1 close_range(5, 5, 0) = 0
        1 execve("/bin/true", ["true"], 0x7f) = 0"""
    ).history
    assert kinds(told.events) == ["Create", "Open", "Close", "Close"]
    assert told.events[0] == Create(1, "smap", 4, 2, "m1", 0o640)


def test_what_lies_elsewhere_is_dropped() -> None:
    told = recorded(
        """1 openat(AT_FDCWD</d/spool>, "/etc/passwd", O_RDONLY) = 4</etc/passwd>
        1 write(4</etc/passwd>, "x", 1) = 1
        1 stat("/d2/spool", {st_mode=S_IFDIR|0755, st_size=1, ...}) = 0
        1 unlink("/tmp/x") = -1 ENOENT (No such file or directory)
        1 fsync(7</tmp/x>) = 0"""
    ).history
    assert (told.events, told.notes) == ((), ())


def test_failures_name_the_file_and_whether_they_were_made() -> None:
    told = recorded(
        f"""{CREATE}
        1 fsync(4</d/spool/m1>) = -1 EIO (Input/output error) (INJECTED)
        1 fcntl(4</d/spool/m1>, F_SETLK, {{l_type=F_WRLCK, l_whence=SEEK_SET, l_start=0, l_len=0}}) = -1 EAGAIN (x)
        1 unlinkat(AT_FDCWD</d/spool>, "m1", 0) = -1 EROFS (Read-only file system)"""
    ).history
    assert told.events[1:] == (
        Failed(1, "smap", "fsync", 5, 4, True),
        Failed(1, "smap", "lockf", 11, 4),
        Failed(1, "smap", "unlink", 30, 4),
    )


def test_a_call_that_never_came_back_is_noted_unless_it_is_begun_again() -> None:
    told = recorded(
        f"""{CREATE}
        1 write(4</d/spool/m1>, "a", 1) = ? ERESTARTSYS (To be restarted if SA_RESTART is set)
        1 write(4</d/spool/m1>, "a", 1) = 1
        1 fchmod(4</d/spool/m1>, 0755 <unfinished ...>
        1 +++ killed by SIGKILL +++"""
    ).history
    assert kinds(told.events) == ["Create", "Write", "Close", "Exit"]
    assert told.notes == (
        "smap: fchmod: the process ended in it: whether it took effect is not known, and it is left out",
    )


def test_success_that_strace_made_up_is_none() -> None:
    told = recorded(f"{CREATE}\n1 fsync(4</d/spool/m1>) = 0 (INJECTED)").history
    assert kinds(told.events) == ["Create"]
    assert told.notes == ("smap: fsync: success was said of it, and it was not executed",)


def test_a_file_that_nobody_was_seen_to_make_is_noted() -> None:
    told = recorded('1 openat(AT_FDCWD</d/spool>, "m9", O_RDONLY) = 4</d/spool/m9>').history
    assert told.notes == ("smap: openat: 'm9' was there, and nobody who is watched had made it",)


def test_a_descriptor_from_nowhere_is_adopted_and_noted() -> None:
    nodes = dict(spool_image().nodes)
    nodes[4] = Node(FILE, 0o644, b"old")
    nodes[2] = Node("directory", 0o755, entries={"m1": 4})
    told = recorded('1 write(9</d/spool/m1>, "new", 3) = 3', start=type(spool_image())(nodes)).history
    assert kinds(told.events) == ["Write"]
    assert "came from somewhere that was not seen" in told.notes[0]


@pytest.mark.parametrize(
    ("call", "noted"),
    [
        ("mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, 4</d/spool/m1>, 0) = 0x7f", True),
        ("mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE, 4</d/spool/m1>, 0) = 0x7f", False),
        ("mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, 5</etc/x>, 0) = 0x7f", False),
        ("sendfile(4</d/spool/m1>, 5</etc/x>, NULL, 10) = 10", True),
        ("sendfile(5</etc/x>, 4</d/spool/m1>, NULL, 10) = 10", False),
        ("copy_file_range(5</etc/x>, NULL, 4</d/spool/m1>, NULL, 10, 0) = 10", True),
        ("splice(5<pipe:[1]>, NULL, 4</d/spool/m1>, NULL, 10, 0) = 10", True),
        ("ioctl(4</d/spool/m1>, FICLONE, 5</etc/x>) = 0", True),
        ("io_uring_setup(8, {flags=0}) = 6<anon_inode:[io_uring]>", True),
        ("fallocate(4</d/spool/m1>, FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE, 0, 5) = 0", True),
        ("write(4</d/spool/m1>, 0x7f00, 5) = 5", True),
        ("setns(5</proc/1/ns/mnt>, CLONE_NEWNS) = 0", True),
        ('renameat2(AT_FDCWD</d/spool>, "m1", AT_FDCWD</d/spool>, "m1", RENAME_EXCHANGE) = 0', True),
    ],
)
def test_what_strace_does_not_show_is_never_silent(call: str, noted: bool) -> None:
    assert bool(recorded(f"{CREATE}\n1 {call}").history.notes) == noted


# Who was told what


def test_replies_promise_the_message_whose_end_they_answer() -> None:
    script = client.HELO + client.transaction() + client.QUIT
    sent = [len(client.HELO), 26, 28, 6]
    lines = ['1 sendto(0<socket:[9]>, "220 hi\\r\\n", 8, 0, NULL, 0) = 8']
    for count, reply in zip(sent, ["250 a", "250 b", "250 c", "354 d"], strict=True):
        lines.append(f"1 read(0, 0x7f, 0x1000) = {count}")
        lines.append(f'1 write(1<socket:[9]>, "{reply}\\r\\n", 7) = 7')
    lines.append(f"1 read(0, 0x7f, 0x1000) = {len(script) - sum(sent) - len(client.QUIT)}")
    lines.append(
        '1 writev(1<socket:[9]>, [{iov_base="250-x\\r\\n250 ", iov_len=11}, {iov_base="ta", iov_len=2}], 2) = 13'
    )
    lines.append('1 write(1<socket:[9]>, "ken\\r\\n", 5) = 5')
    recording = recorded("\n".join(lines), script=script, sessions=(1,))
    replies = [
        (event.code, event.text, event.promises) for event in recording.history.events if isinstance(event, Reply)
    ]
    assert replies == [
        (220, "hi", ""), (250, "a", ""), (250, "b", ""), (250, "c", ""), (354, "d", ""),
        (250, "taken", "session 1 message 1"),
    ]  # fmt: skip
    assert recording.history.messages[0].recipients == ("alice@localhost",)


def test_a_listening_smap_takes_its_clients_one_after_the_other() -> None:
    text = """1 accept4(0<socket:[5]>, NULL, NULL, SOCK_CLOEXEC) = 7<socket:[9]>
        1 fork() = 2
        1 close(7<socket:[9]>) = 0
        1 accept(0<socket:[5]>, NULL, NULL) = 7<socket:[10]>
        2 write(7<socket:[9]>, "220 one\\r\\n", 9) = 9
        1 write(7<socket:[10]>, "220 two\\r\\n", 9) = 9"""
    log = Log(items(text), (1, 2), (b"", b""), accepts=True)
    told = record([log], Setting(spool_image(), ("/d",))).history
    assert [(event.process, event.session, event.text) for event in told.events if isinstance(event, Reply)] == [
        (2, 1, "one"), (1, 2, "two"),
    ]  # fmt: skip


def test_a_mailer_that_is_given_a_pipe() -> None:
    told = recorded(
        "1 getpid() = 1",
        f"""1 pipe2([5<pipe:[1]>, 6<pipe:[1]>], O_CLOEXEC) = 0
        1 fork() = 2
        1 write(6<pipe:[1]>, "the message", 11) = 11
        2 dup2(5<pipe:[1]>, 0) = 0<pipe:[1]>
        2 execve("{MAILER}", ["{MAILER}", "bob"], 0x7f) = 0
        2 read(0, 0x7f, 0x1000) = 11
        2 +++ exited with 75 +++""",
    ).history
    assert told.events[-2] == history.MailerEnd(2, "mailer", (MAILER, "bob"), b"the message", 75)
    assert [event for event in told.events if isinstance(event, Spawn)] == [Spawn(1, "smapd", 2, (MAILER, "bob"))]


# Order


def test_a_barrier_covers_nothing_that_may_have_come_after_it() -> None:
    recording = recorded(
        f"""{CREATE}
        1 fork() = 2
        1 fsync(4</d/spool/m1> <unfinished ...>
        2 write(4</d/spool/m1>, "a", 1) = 1
        1 <... fsync resumed>) = 0"""
    )
    assert kinds(recording.history.events) == ["Create", "Spawn", "Fsync", "Write"]
    assert [overlap.what for overlap in recording.overlaps] == ["fsync and write"]
    assert [kinds(other.events) for other in recording.others()] == [["Create", "Spawn", "Write", "Fsync"]]


def test_overlapping_calls_about_different_files_have_one_order() -> None:
    recording = recorded(
        f"""{CREATE}
        1 fork() = 2
        1 fsync(4</d/spool/m1> <unfinished ...>
        2 mkdirat(AT_FDCWD</d/bad>, "x", 0755) = 0
        1 <... fsync resumed>) = 0"""
    )
    assert recording.overlaps == ()


def test_a_lock_is_given_up_before_another_gets_it() -> None:
    told = recorded(
        f"""{CREATE}
        1 flock(4</d/spool/m1>, LOCK_EX) = 0
        1 fork() = 2
        2 openat(AT_FDCWD</d/spool>, "m1", O_RDWR) = 5</d/spool/m1>
        2 flock(5</d/spool/m1>, LOCK_EX <unfinished ...>
        1 flock(4</d/spool/m1>, LOCK_UN <unfinished ...>
        2 <... flock resumed>) = 0
        1 <... flock resumed>) = 0"""
    ).history
    locks = [(event.process, type(event)) for event in told.events if isinstance(event, Lock | Unlock)]
    assert locks == [(1, Lock), (1, Unlock), (2, Lock)]


def test_two_logs_are_merged_by_the_clock() -> None:
    told = recorded(
        f"""{CREATE}
        1 getpid() = 1
        1 renameat(AT_FDCWD</d/spool>, "m1", AT_FDCWD</d/spool>, "m2") = 0""",
        """9 getpid() = 9
        9 openat(AT_FDCWD</d/spool>, "m1", O_RDONLY) = 5</d/spool/m1>""",
    ).history
    assert [type(event) for event in told.events] == [Create, Open, Rename]
    assert told.notes == ()


def test_what_another_has_done_already_is_seen_before_its_call_is_over() -> None:
    told = recorded(
        """1 fork() = 2
        1 openat(AT_FDCWD</d/spool>, "m1", O_WRONLY|O_CREAT|O_EXCL, 0644 <unfinished ...>
        2 lstat("/d/spool/m1", {st_mode=S_IFREG|0644, st_size=0, ...}) = 0
        1 <... openat resumed>) = 4</d/spool/m1>
        1 fchmod(4</d/spool/m1>, 0755 <unfinished ...>
        2 lstat("/d/spool/m1", {st_mode=S_IFREG|0755, st_size=0, ...}) = 0
        1 <... fchmod resumed>) = 0
        1 unlink("/d/spool/m1" <unfinished ...>
        2 openat(AT_FDCWD</d/spool>, "m1", O_WRONLY|O_CREAT|O_EXCL, 0600) = 5</d/spool/m1>
        1 <... unlink resumed>) = 0"""
    ).history
    assert kinds(told.events) == ["Spawn", "Create", "Look", "Chmod", "Look", "Unlink", "Create"]
    assert told.notes == ()


def test_a_mode_that_nobody_set_and_a_name_that_nobody_took_away_are_noted() -> None:
    told = recorded(
        f"""{CREATE}
        1 lstat("/d/spool/m1", {{st_mode=S_IFREG|0755, st_size=0, ...}}) = 0
        1 mkdir("/d/spool/m1", 0700) = 0"""
    ).history
    assert told.notes == (
        "smap: lstat: 'm1' had mode 755, and nobody who is watched had set it",
        "smap: mkdir: 'm1' was not there, and nobody who is watched had taken it away",
    )
