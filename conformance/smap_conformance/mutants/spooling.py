"""Mutants of the spool file's ways in and aside: modes, locks, names, durability, the move to baddir."""

from __future__ import annotations

from smap_conformance.mutants.mutant import Mutant

_MARK = "gather_mark::test_there_is_no_250_when_the_mark_cannot_be_set"

SPOOLING: tuple[Mutant, ...] = (
    Mutant(
        "failed-mark-overheard", "smap",
        "            self._gathering.commit()\n        except OSError as error:\n"
        "            return self._failed(self._gathering.name, error)\n",
        "            self._gathering.commit()\n        except OSError:\n            pass\n",
        {"GATHER-07": "reply to the end of data"}, (_MARK,),
        "250 whether the mark was set or not",
    ),
    Mutant(
        "created-whole", "spool",
        "O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, PARTIAL)", "O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, WHOLE)",
        {"GATHER-05": "755, and more was to come"},
        ("gather::test_the_mode_is_644_until_the_message_is_complete_whatever_the_umask[umask 022]",),
        "the file has its mark from the creation on",
    ),
    Mutant(
        "umask-decides", "posix/receiving", "    os.umask(0o022)  # what a spool file's mode is stays with us\n", "",
        {"GATHER-03": "644"},
        ("gather::test_the_mode_is_644_until_the_message_is_complete_whatever_the_umask[umask 077]",),
        "inetd's umask makes the file 600",
    ),
    Mutant(
        "unlocked-for-a-moment", "spool",
        "        self._disk.fsync(self._fd)  # G1 whole: the mark can never name less than the whole message\n",
        "        import fcntl, time\n"
        "        fcntl.flock(self._fd, fcntl.LOCK_UN)\n"
        "        fcntl.lockf(self._fd, fcntl.LOCK_UN)\n"
        "        time.sleep(0.05)\n",
        {"GATHER-06": "expected '755'; got '644'"}, ("gather::test_who_gets_the_lock_finds_the_mark",),
        "the lock is given up before the mark is set",
    ),
    Mutant(
        "one-name-for-all", "spool",
        '        name = f"m{now_us // 1_000_000}.{now_us % 1_000_000:06d}.{system.processes.getpid()}.{number}"\n'
        "        try:\n"
        "            return name, system.disk.open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, PARTIAL)\n",
        '        name = f"m{now_us // 1_000_000 // 100}.{number}"\n'
        "        try:\n            return name, system.disk.open(name, O_WRONLY | O_CREAT | O_NOFOLLOW, PARTIAL)\n",
        {"GATHER-01": "reply to b'DATA'"}, ("gather::test_equal_messages_at_once_get_a_file_each",),
        "the name is the time, and whoever comes at the same time writes into the same file",
    ),
    Mutant(
        "marked-when-the-line-drops", "smap",
        '                self.drop("end of input")\n',
        "                if self._gathering is not None:\n                    self._finish()\n",
        {"SMTP-13": "whole files (755) in the spool", "GATHER-08": "files of mode 755 for a message that was not"},
        (
            "smtp_loss::test_half_a_session_leaves_no_whole_message_wherever_it_is_cut",
            "gather_end::test_a_message_that_is_not_completely_gathered_is_never_marked[closed within the message]",
        ),
        "half a message is marked when the client goes",
    ),
    Mutant(
        "marked-when-time-is-up", "smap",
        '        receiver.drop("timed out")\n',
        "        if receiver._gathering is not None:\n            receiver._finish()\n",
        {"GATHER-08": "files of mode 755 for a message that was not completed", "SLOW-02": "whole files: expected []"},
        (
            "gather_end::test_a_message_that_is_not_completely_gathered_is_never_marked[time-out within the message]",
            "slow::test_a_client_that_stalls_is_let_go[inside the body]",
        ),
        "half a message is marked when the time is up",
    ),
    Mutant(
        "envelope-sorted", "envelope",
        "lines += [_RCPT + recipient for recipient in recipients]",
        "lines += [_RCPT + recipient for recipient in sorted(recipients)]",
        {"GATHER-02": "recipients of the message"}, ("gather::test_envelope_and_body_are_what_the_client_sent",),
        "the recipients stand in the heading in another order",
    ),
    Mutant(
        "heading-begins-with-the-sender", "envelope", '_FROM = b"FROM "\n', '_FROM = b""\n',
        {"PRIV-07": "the first bytes of the spool file"},
        ("priv_jail::test_an_envelope_cannot_make_the_file_a_program[sender]",),
        "the file's first bytes are the client's, and may be `#!/bin/sh`",
    ),
    Mutant(
        "no-room-is-for-ever", "reply", 'NO_ROOM = Reply(452, "No room, try later")', 'NO_ROOM = Reply(552, "No room")',
        {"FAULT-01": "expected 4xx; got 552"}, ("fault::test_a_message_larger_than_the_disk[200000]",),
        "a full disk is answered with 5xx, and honest mail bounces",
    ),
    Mutant(
        "failed-write-overheard", "smap",
        "            self._gathering.write(data)\n        except OSError as error:\n"
        "            return self._failed(self._gathering.name, error)\n",
        "            self._gathering.write(data)\n        except OSError:\n            pass\n",
        {"FAULT-02": "the whole file after 250", "FAULT-03": "the whole file after 250"},
        ("fault_limits::test_a_file_may_not_grow_so_large[300]",),
        "what the disk refuses is missing from the message, and 250 is said",
    ),
    Mutant(
        "written-behind-the-mark", "spool",
        "        self._disk.fchmod(self._fd, WHOLE)\n        self._disk.fsync(self._fd)  # G2",
        "        self._disk.fchmod(self._fd, WHOLE)\n"
        '        __import__("posix").pwrite(self._fd, b"\\n", self.size_bytes - 1)\n'
        "        self._disk.fsync(self._fd)  # G2",
        {"GATHER-05": "nothing written after the mark"}, ("gather_recorded::test_the_way_in_as_recorded[umask 022]",),
        "the last byte is written once more, behind the mark",
    ),
    # aside
    Mutant(
        "linked-and-unlinked", "spool", "            disk.rename(name, place)\n",
        "            disk.link(name, place)\n            disk.unlink(name)\n",
        {"BAD-01": "one rename(2) into baddir"}, ("gather_recorded::test_the_way_out_as_recorded[a move to baddir]",),
        "two calls in the place of one rename(2): in between the message is in both places",
    ),
    Mutant(
        "copied-and-removed", "spool", "            disk.rename(name, place)\n",
        "            import shutil\n            shutil.copy2(name, place)\n            disk.unlink(name)\n",
        {"BAD-01": "device, inode, mode"}, ("bad::test_the_move_is_a_rename",),
        "a copy in baddir instead of the message itself",
    ),
    Mutant(
        "renamed-over", "posix/machine", "_RENAME_NOREPLACE = 1\n", "_RENAME_NOREPLACE = 0\n",
        {"BAD-02": "what had the name"}, ("bad::test_what_has_the_name_already_survives[a file]",),
        "rename(2) replaces what has the name in baddir",
    ),
    Mutant(
        "forgotten-when-it-cannot-be-moved", "smapd",
        "            new = spool.set_aside(self._system.disk, self._name, self._settings.baddir)\n",
        "            try:\n"
        "                new = spool.set_aside(self._system.disk, self._name, self._settings.baddir)\n"
        "            except OSError:\n                return self._delivered()\n",
        {"BAD-03": "'gone'"}, ("bad::test_a_rename_that_fails_leaves_the_message_in_the_spool[missing]",),
        "a message that cannot be set aside is removed",
    ),
    Mutant(
        "in-memory-for-a-moment", "smapd",
        "            new = spool.set_aside(self._system.disk, self._name, self._settings.baddir)\n",
        "            import os, time\n"
        '            with open(self._name, "rb") as file:\n                data = file.read()\n'
        "            os.unlink(self._name)\n            time.sleep(0.01)\n            new = self._name\n"
        '            with open(f"{self._settings.baddir}/{new}", "wb") as file:\n                file.write(data)\n'
        "                os.fchmod(file.fileno(), 0o755)\n",
        {"BAD-04": "each in one of them, whole"}, ("bad::test_at_no_time_is_the_message_in_neither_place[small]",),
        "removed here before it is written there",
    ),
    Mutant(
        "back-from-baddir", "smapd",
        "            names = self._system.disk.listdir(spool.SPOOL)\n",
        "            names = self._system.disk.listdir(spool.SPOOL)\n"
        '            for name in self._system.disk.listdir("bad") if "bad" in names else []:\n'
        '                self._system.disk.rename(f"bad/{name}", name)\n'
        "            names = self._system.disk.listdir(spool.SPOOL)\n",
        {"BAD-05": "the spool"}, ("bad::test_baddir_inside_the_spool_is_not_delivered",),
        "the scan goes down into baddir",
    ),
    Mutant(
        "removed-without-a-baddir", "smapd",
        '        self._system.log.warning(line("kept", file=self._name, reason=reason))\n',
        "        if decided == ASIDE:\n            return self._delivered()\n",
        {"BAD-06": "'gone'", "MAILER-05": "'gone'"}, ("mailer::test_without_a_baddir_the_message_stays",),
        "what is refused, and has no baddir to go to, is removed",
    ),
)  # fmt: skip
