"""Wrong pairs: the reference with one thing changed, each breaking one rule. Data, and how a pair is made from it.

A change is a snippet of the reference that must be there exactly once, and what stands in its place; so a change of
the reference that takes the ground from under a wrong pair is seen at once.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import smap_reference

PACKAGE = Path(smap_reference.__file__).parent


@dataclass(frozen=True)
class Wrong:
    """One wrong pair: what it does, the rule that must fail, the cases that must show it, and the change."""

    does: str
    rule: str
    cases: tuple[str, ...]  # as a failure names them; none: every case of the rule
    module: str
    snippet: str
    instead: str
    sees: str  # what the failure must say, so that it fails for this reason and no other
    options: tuple[str, ...] = field(default=())


WRONG = (
    Wrong(
        "answers 250 before it marks the file",
        "GATHER-07",
        ("gather_mark::test_there_is_no_250_when_the_mark_cannot_be_set",),
        "smap.py",
        "                        self._session.finished(self._finish())\n",
        "                        self._session.finished(None)\n"
        "                        self._say(self._session.step())\n"
        "                        self._finish()\n",
        "acceptable: 4xx or 5xx",
    ),
    Wrong(
        "answers 250 whether the mark was set or not",
        "GATHER-07",
        ("gather_mark::test_there_is_no_250_when_the_mark_cannot_be_set",),
        "smap.py",
        "            self._gathering.commit()\n        except OSError as error:\n"
        "            return self._failed(self._gathering.name, error)\n",
        "            self._gathering.commit()\n        except OSError:\n            pass\n",
        "acceptable: 4xx or 5xx",
    ),
    Wrong(
        "marks the file from the start",
        "GATHER-05",
        ("gather::test_the_mode_is_644_until_the_message_is_complete_whatever_the_umask[umask 022]",),
        "spool.py",
        "O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, PARTIAL)",
        "O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, WHOLE)",
        "755, and more was to come",
    ),
    Wrong(
        "leaves the mode to the umask",
        "GATHER-03",
        ("gather::test_the_mode_is_644_until_the_message_is_complete_whatever_the_umask[umask 077]",),
        "posix/receiving.py",
        "    os.umask(0o022)  # what a spool file's mode is stays with us\n",
        "",
        "644",
    ),
    Wrong(
        "writes without a lock",
        "GATHER-04",
        ("gather::test_the_file_is_locked_at_each_look_from_its_first_byte_on",),
        "spool.py",
        "            self._disk.flock(self._fd)\n            self._disk.lockf(self._fd, exclusive=True)\n",
        "            pass\n",
        "",
    ),
    Wrong(
        "gives up the lock before it marks the file",
        "GATHER-06",
        ("gather::test_who_gets_the_lock_finds_the_mark",),
        "spool.py",
        "        self._disk.fsync(self._fd)  # G1 whole: the mark can never name less than the whole message\n",
        "        import fcntl, time\n"
        "        fcntl.flock(self._fd, fcntl.LOCK_UN)\n"
        "        fcntl.lockf(self._fd, fcntl.LOCK_UN)\n"
        "        time.sleep(0.05)\n",
        "",
    ),
    Wrong(
        "delivers what is not marked",
        "SCAN-04",
        ("scan::test_files_of_mode_644_are_never_delivered",),
        "spool.py",
        "stat.st_mode & 0o7777 == WHOLE",
        "stat.st_mode & 0o7777 in (WHOLE, PARTIAL)",
        "",
    ),
    Wrong(
        "stays where it was started",
        "PRIV-01",
        (),
        "posix/identity.py",
        '        os.chroot(".")\n        os.chdir("/")\n',
        "        pass\n",
        "",
    ),
    Wrong(
        "takes LF.LF for the end of data",
        "SMTP-05",
        ("smtp_data::test_only_crlf_dot_crlf_ends_a_message[LF.LF-one segment]",),
        "data.py",
        "        text = self._held + data\n",
        '        text = (self._held + data).replace(b"\\n.\\n", b"\\r\\n.\\r\\n")\n',
        "",
    ),
    Wrong(
        "leaves the dots doubled",
        "SMTP-06",
        ("smtp_data::test_a_dot_that_the_client_did_not_double_goes",),
        "data.py",
        '.replace(b"\\r\\n.", b"\\r\\n")',
        "",
        "looked at:  the message at the mailer",
    ),
    Wrong(
        "hands all recipients over in one argument",
        "MAILER-01",
        ("mailer::test_the_mailer_gets_sender_and_recipients_in_order[2]",),
        "smapd.py",
        '*(recipient.decode("ascii") for recipient in recipients)]',
        '",".join(recipient.decode("ascii") for recipient in recipients)]',
        "words after the sender",
    ),
    Wrong(
        "calls the mailer by way of a shell",
        "MAILER-01",
        ("mailer::test_no_shell_sees_an_address[recipient]",),
        "smapd.py",
        "        pid = processes.spawn(argv, fd)\n",
        '        pid = processes.spawn(["/bin/sh", "-c", " ".join(argv)], fd)\n',
        "",
        ("--timeout-scale", "0.2"),
    ),
    Wrong(
        "gives the mailer the heading as well",
        "MAILER-02",
        ("mailer::test_the_input_is_the_message_from_its_first_byte",),
        "smapd.py",
        "            disk.lseek(fd, self._heading.body_offset)\n",
        "            disk.lseek(fd, 0)\n",
        "the mailer's input",
    ),
    Wrong(
        "does not remove what was delivered",
        "MAILER-03",
        ("mailer::test_exit_0_removes_the_message_for_good",),
        "spool.py",
        "    disk.unlink(name)\n    sync_directory(disk, SPOOL)  # G4",
        "    sync_directory(disk, SPOOL)  # G4",
        "its removal",
        ("--timeout-scale", "0.2"),
    ),
    Wrong(
        "removes a message after EX_TEMPFAIL",
        "MAILER-04",
        ("mailer::test_nothing_but_the_exit_status_counts",),
        "smapd.py",
        "    EX_TEMPFAIL: KEPT,\n",
        "    EX_TEMPFAIL: DELIVERED,\n",
        "actual:     'gone'",
    ),
    Wrong(
        "tries again whatever the mailer says",
        "MAILER-05",
        ("mailer::test_any_other_status_sets_the_message_aside",),
        "smapd.py",
        "OUTCOMES.get(status, ASIDE)",
        "OUTCOMES.get(status, KEPT)",
        "acceptable: 'whole in baddir'",
    ),
    Wrong(
        "takes death by a signal for exit status 0",
        "MAILER-06",
        ("mailer::test_death_by_a_signal_never_removes_the_message[with a baddir]",),
        "smapd.py",
        "    return KEPT if status < 0 else",
        "    return DELIVERED if status < 0 else",
        "actual:     'gone'",
    ),
    Wrong(
        "lets a shell run what is no program, as execvp does",
        "MAILER-06",
        ("mailer::test_a_mailer_that_cannot_be_executed_never_removes_the_message[an empty file]",),
        "smapd.py",
        "        pid = processes.spawn(argv, fd)\n",
        "        try:\n            pid = processes.spawn(argv, fd)\n        except OSError:\n"
        '            pid = processes.spawn(["/bin/sh", *argv], fd)\n',
        "actual:     'gone'",
    ),
    Wrong(
        "sets aside what was not read to its end",
        "MAILER-07",
        ("mailer::test_a_mailer_that_does_not_read_is_judged_by_its_status",),
        "smapd.py",
        "                return ended[1]\n",
        "                return ended[1] if not self._system.disk.read(fd, 1) else 65\n",
        "exit status 0",
    ),
    Wrong(
        "delivers one message at a time",
        "MAILER-08",
        ("mailer::test_a_mailer_that_hangs_does_not_stop_the_others[hangs]",),
        "smapd.py",
        "len(self._running) < self._settings.deliveries_max",
        "len(self._running) < 1",
        "their delivery",
        ("--timeout-scale", "0.2"),
    ),
    Wrong(
        "remembers the status of the last part only",
        "MAILER-09",
        ("mailer_parts::test_one_part_that_must_be_tried_again_keeps_the_message[first]",),
        "smapd.py",
        "            if outcome(status) != DELIVERED:\n",
        "            if part[-1] == self._heading.recipients[-1] and outcome(status) != DELIVERED:\n",
        "the part that failed",
        ("--timeout-scale", "0.3"),
    ),
    Wrong(
        "knows one mailer only",
        "MAILER-10",
        ("mailer_parts::test_the_clause_names_the_mailer",),
        "smapd.py",
        "        argv = [*self._settings.sendmail,",
        '        argv = ["/bin/true",',
        "runs of the mailer",
    ),
    Wrong(
        "copies into baddir",
        "BAD-01",
        ("bad::test_the_move_is_a_rename",),
        "spool.py",
        "            disk.rename(name, place)\n",
        "            import shutil\n            shutil.copy2(name, place)\n            disk.unlink(name)\n",
        "device, inode, mode",
    ),
    Wrong(
        "replaces what has the name in baddir",
        "BAD-02",
        ("bad::test_what_has_the_name_already_survives[a file]",),
        "posix/machine.py",
        "_RENAME_NOREPLACE = 1\n",
        "_RENAME_NOREPLACE = 0\n",
        "what had the name",
    ),
    Wrong(
        "forgets a message that it cannot set aside",
        "BAD-03",
        ("bad::test_a_rename_that_fails_leaves_the_message_in_the_spool[missing]",),
        "smapd.py",
        "            new = spool.set_aside(self._system.disk, self._name, self._settings.baddir)\n",
        "            try:\n"
        "                new = spool.set_aside(self._system.disk, self._name, self._settings.baddir)\n"
        "            except OSError:\n                return self._delivered()\n",
        "actual:     'gone'",
    ),
    Wrong(
        "has the message in memory only for a moment",
        "BAD-04",
        ("bad::test_at_no_time_is_the_message_in_neither_place[small]",),
        "smapd.py",
        "            new = spool.set_aside(self._system.disk, self._name, self._settings.baddir)\n",
        "            import os, time\n"
        '            with open(self._name, "rb") as file:\n                data = file.read()\n'
        "            os.unlink(self._name)\n            time.sleep(0.01)\n            new = self._name\n"
        '            with open(f"{self._settings.baddir}/{new}", "wb") as file:\n                file.write(data)\n'
        "                os.fchmod(file.fileno(), 0o755)\n",
        "each in one of them, whole",
    ),
    Wrong(
        "brings back what was set aside",
        "BAD-05",
        ("bad::test_baddir_inside_the_spool_is_not_delivered",),
        "smapd.py",
        "            names = self._system.disk.listdir(spool.SPOOL)\n",
        "            names = self._system.disk.listdir(spool.SPOOL)\n"
        '            for name in self._system.disk.listdir("bad") if "bad" in names else []:\n'
        '                self._system.disk.rename(f"bad/{name}", name)\n'
        "            names = self._system.disk.listdir(spool.SPOOL)\n",
        "looked at:  ",
    ),
    Wrong(
        "removes what it has no baddir for",
        "BAD-06",
        ("mailer::test_without_a_baddir_the_message_stays",),
        "smapd.py",
        '        self._system.log.warning(line("kept", file=self._name, reason=reason))\n',
        "        if decided == ASIDE:\n            return self._delivered()\n",
        "actual:     'gone'",
    ),
    Wrong(
        "does not make the mark durable before the promise",
        "CRASH-02",
        ("crash_power::test_whatever_a_power_cut_leaves_of[two messages in one session]",),
        "spool.py",
        "        self._disk.fsync(self._fd)  # G2 marked: fdatasync, O_SYNC or an fsync of the directory would not do\n",
        "",
        "<- the only omission",
    ),
    Wrong(
        "sets the mark before the message is on the disk",
        "CRASH-04",
        ("crash_power::test_whatever_a_power_cut_leaves_of[two messages in one session]",),
        "spool.py",
        "        self._disk.fsync(self._fd)  # G1 whole: the mark can never name less than the whole message\n",
        "",
        "MARK: spool/",
    ),
    Wrong(
        "promises a message whose mark only the page cache knows",
        "GATHER-07",
        ("gather_recorded::test_the_way_in_as_recorded[umask 022]",),
        "spool.py",
        "        self._disk.fsync(self._fd)  # G2 marked: fdatasync, O_SYNC or an fsync of the directory would not do\n",
        "        self._disk.fdatasync(self._fd)\n",
        "mark, data and name durable before the 250",
    ),
    Wrong(
        "writes behind the mark",
        "GATHER-05",
        ("gather_recorded::test_the_way_in_as_recorded[umask 022]",),
        "spool.py",
        "        self._disk.fchmod(self._fd, WHOLE)\n        self._disk.fsync(self._fd)  # G2",
        '        self._disk.fchmod(self._fd, WHOLE)\n        self.write(b"\\n")\n        self._disk.fsync(self._fd)  # G2',
        "nothing written after the mark",
    ),
    Wrong(
        "writes to whatever has the name already",
        "PRIV-08",
        ("gather_recorded::test_new_files_are_created_exclusively_and_never_through_a_link",),
        "spool.py",
        "O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, PARTIAL)",
        "O_WRONLY | O_CREAT | O_NOFOLLOW, PARTIAL)",
        "O_EXCL beside O_CREAT",
    ),
    Wrong(
        "moves into baddir by a link and an unlink",
        "BAD-01",
        ("gather_recorded::test_the_way_out_as_recorded[a move to baddir]",),
        "spool.py",
        "            disk.rename(name, place)\n",
        "            disk.link(name, place)\n            disk.unlink(name)\n",
        "one rename(2) into baddir",
    ),
    Wrong(
        "delivers without a lock",
        "SCAN-05",
        ("gather_recorded::test_the_way_out_as_recorded[a delivery]",),
        "spool.py",
        "        disk.flock(fd)\n        disk.lockf(fd, exclusive=False)\n    except",
        "        pass\n    except",
        "a lock that keeps others out",
    ),
)


def make(wrong: Wrong, directory: Path) -> tuple[Path, Path]:
    """Install the wrong pair in `directory`; its smap and its smapd."""
    package = directory / "lib" / "smap_reference"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    module = package / wrong.module
    text = module.read_text(encoding="utf-8")
    assert text.count(wrong.snippet) == 1, f"{wrong.module}: this is no longer there once:\n{wrong.snippet}"
    module.write_text(text.replace(wrong.snippet, wrong.instead), encoding="utf-8")
    programs = directory / "libexec"
    subprocess.run(
        [sys.executable, "-m", "smap_reference", str(programs)],
        cwd=directory / "lib", check=True, capture_output=True, env={"PYTHONPATH": str(directory / "lib")},
    )  # fmt: skip
    return programs / "smap", programs / "smapd"
