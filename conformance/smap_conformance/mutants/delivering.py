"""Mutants of smapd: scanning, the copies, the mailer's arguments, input, environment and exit status."""

from __future__ import annotations

from smap_conformance.mutants.mutant import Mutant

_SPAWN = "        pid = processes.spawn(argv, fd)\n"
_STATUS = "            status = self._mail(part, fd)\n"

DELIVERING: tuple[Mutant, ...] = (
    # looking for work
    Mutant(
        "scans-once", "smapd", "scan_at_s = clock.monotonic() + self._settings.wakeup_s",
        "scan_at_s = clock.monotonic() + 1e6",
        {"SCAN-01": "a spool without whole files"},
        ("scan::test_messages_that_come_one_after_the_other_are_delivered_by_one_smapd",),
        "what comes after the first scan lies there until somebody looks", scale=0.2,
    ),
    Mutant(
        "mails-everything-twice", "smapd", _STATUS,
        f"            self._mail(part, fd)\n            disk.lseek(fd, self._heading.body_offset)\n{_STATUS}",
        {"SCAN-02": "expected 1; got 2"}, ("sanity::test_a_mail_goes_in_and_comes_out_unchanged",),
        "the mailer is run twice for each message",
    ),
    Mutant(
        "wakeup-ignored", "netperm", 'self.wakeup_s: int = self._value("wakeup") or DEFAULT_WAKEUP_S',
        "self.wakeup_s: int = 1",
        {"CFG-11": "with no wakeup clause"}, ("cfg::test_wakeup_is_the_time_between_scans",),
        "a scan each second whatever the table says",
    ),
    Mutant(
        "fcntl-lock-overlooked", "spool", "        disk.lockf(fd, exclusive=False)\n", "",
        {"SCAN-03": "fcntl"}, ("scan::test_a_locked_message_is_left_alone_until_the_lock_is_gone",),
        "a writer that locks with fcntl only is not seen",
    ),
    Mutant(
        "partial-is-delivered-too", "spool", "stat.st_mode & 0o7777 == WHOLE",
        "stat.st_mode & 0o7777 in (WHOLE, PARTIAL)",
        {"SCAN-04": "mode 644"}, ("scan::test_files_of_mode_644_are_never_delivered",),
        "what a crash left half-written is mailed",
    ),
    Mutant(
        "half-a-letter-after-a-crash", "spool",
        "stat.st_mode & S_IFMT == S_IFREG and stat.st_mode & 0o7777 == WHOLE",
        "stat.st_mode & S_IFMT == S_IFREG and stat.st_mode & 0o444 == 0o444",
        {"CRASH-05": "at the mailer"}, ("crash::test_smap_is_killed_at_any_point_of_a_session[smapd afterwards]",),
        "any file that everybody may read is taken for a whole message",
    ),
    Mutant(
        "executes-itself", "smapd", "spawn([self._settings.executable, name], fd)",
        'spawn([__import__("sys").argv[0], name], fd)',
        {"SCAN-06": "an execution for each message"}, ("scan::test_nothing_but_executable_delivers",),
        "`executable` is read and never executed", scale=0.2,
    ),
    Mutant(
        "one-message-stops-the-others", "smapd",
        "        self._waiting = sorted(present - busy, key=lambda name: (self._tried.get(name, 0), name))\n",
        "        self._waiting = sorted(present) if not self._tried else []\n",
        {"SCAN-07": "got not within"},
        ("scan::test_messages_that_cannot_be_delivered_do_not_stop_the_others[with baddir]",),
        "nothing new is begun while a message that was tried is still there", scale=0.1,
    ),
    Mutant(
        "fifo-opened", "spool",
        "        if not is_whole(disk.lstat(name)):\n            return None\n"
        "        fd = disk.open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)\n",
        "        fd = disk.open(name, O_RDONLY | O_NOFOLLOW)\n",
        {"SCAN-08": "delivery of the 2 messages beside it"},
        ("scan_oddities::test_what_is_no_regular_file_is_neither_delivered_nor_in_the_way[what an open waits for]",),
        "the scan waits for a writer of a named pipe for ever", scale=0.2,
    ),
    Mutant(
        "links-followed", "posix/machine",
        "    (O_NOFOLLOW, os.O_NOFOLLOW),\n    (O_NONBLOCK, os.O_NONBLOCK),\n    (O_DIRECTORY, os.O_DIRECTORY),\n)\n",
        "    (O_NONBLOCK, os.O_NONBLOCK),\n    (O_DIRECTORY, os.O_DIRECTORY),\n)\nos.lstat = os.stat\n",
        {"SCAN-08": "how often 2 messages were delivered"},
        ("scan_oddities::test_what_is_no_regular_file_is_neither_delivered_nor_in_the_way[what leads elsewhere]",),
        "a symbolic link in the spool mails out whatever it leads to",
    ),
    Mutant(
        "unbounded-deliveries", "smapd",
        "while self._waiting and len(self._running) < self._settings.deliveries_max:", "while self._waiting:",
        {"SCAN-10": "mailers at a time"}, ("scan::test_the_number_of_deliveries_at_a_time_is_bounded",),
        "a weekend's mail is started all at once",
    ),
    Mutant(
        "kills-what-is-under-way", "smapd", "while self._running or not processes.stopping():",
        "while not processes.stopping() or [processes.kill(pid) for pid in self._running]:",
        {"SCAN-11": "given to a mailer, when smapd is gone"},
        ("scan::test_sigterm_ends_it_after_the_deliveries_under_way",),
        "SIGTERM kills the copies between the mailer's exit and the removal", scale=0.3,
    ),
    Mutant(
        "deaf-to-sigterm", "posix/machine", "            self._stopping = True\n        return self._stopping\n",
        "            pass\n        return False\n",
        {"SCAN-11": "expected its end"}, ("scan::test_sigterm_ends_an_idle_smapd",),
        "SIGTERM is noted and nothing comes of it", scale=0.2,
    ),
    # the mailer
    Mutant(
        "recipients-in-one-argument", "smapd", '*(recipient.decode("ascii") for recipient in recipients)]',
        '",".join(recipient.decode("ascii") for recipient in recipients)]',
        {"MAILER-01": "words after the sender"}, ("mailer::test_the_mailer_gets_sender_and_recipients_in_order[2]",),
        "all recipients in one argument, with commas",
    ),
    Mutant(
        "no-dash-f", "smapd", 'argv = [*self._settings.sendmail, "-f", sender,',
        "argv = [*self._settings.sendmail, sender,",
        {"MAILER-01": "mailer -f sender recipient"},
        ("mailer::test_the_mailer_gets_sender_and_recipients_in_order[1]",),
        "the sender becomes one more recipient",
    ),
    Mutant(
        "through-a-shell", "smapd", _SPAWN, '        pid = processes.spawn(["/bin/sh", "-c", " ".join(argv)], fd)\n',
        {"MAILER-01": "messages that smap had taken"}, ("mailer::test_no_shell_sees_an_address[recipient]",),
        "an address like `;sleep 5;` is a command", scale=0.2,
    ),
    Mutant(
        "heading-mailed-as-well", "smapd", "            disk.lseek(fd, self._heading.body_offset)\n",
        "            disk.lseek(fd, 0)\n",
        {"MAILER-02": "the mailer's input"}, ("mailer::test_the_input_is_the_message_from_its_first_byte",),
        "the letter begins with its envelope, blind recipients and all",
    ),
    Mutant(
        "not-removed", "spool", "    disk.unlink(name)\n    sync_directory(disk, SPOOL)  # G4",
        "    sync_directory(disk, SPOOL)  # G4",
        {"MAILER-03": "its removal"}, ("mailer::test_exit_0_removes_the_message_for_good",),
        "what was delivered stays, and is delivered again", scale=0.2,
    ),
    Mutant(
        "every-exit-tried-again", "smapd", "OUTCOMES.get(status, ASIDE)", "OUTCOMES.get(status, KEPT)",
        {"MAILER-05": "'whole in baddir'"}, ("mailer::test_any_other_status_sets_the_message_aside",),
        "a mailer that refuses for good is asked for ever",
    ),
    Mutant(
        "core-dump-bit-only", "posix/machine", "return pid, os.waitstatus_to_exitcode(status)",
        "return pid, status >> 8",
        {"MAILER-06": "'gone'"}, ("mailer::test_death_by_a_signal_never_removes_the_message[without a baddir]",),
        "the old smapd's fault: half of the wait status, in which a killed mailer is exit 0",
    ),
    Mutant(
        "shell-runs-what-is-no-program", "smapd", _SPAWN,
        "        try:\n            pid = processes.spawn(argv, fd)\n        except OSError:\n"
        '            pid = processes.spawn(["/bin/sh", *argv], fd)\n',
        {"MAILER-06": "'gone'"},
        ("mailer::test_a_mailer_that_cannot_be_executed_never_removes_the_message[an empty file]",),
        "an empty file in the mailer's place is a script that succeeds, as with execvp(3)",
    ),
    Mutant(
        "unread-is-set-aside", "smapd", "                return ended[1]\n",
        "                return ended[1] if not self._system.disk.read(fd, 1) else 65\n",
        {"MAILER-07": "exit status 0"}, ("mailer::test_a_mailer_that_does_not_read_is_judged_by_its_status",),
        "a mailer that did not read to the end is not believed",
    ),
    Mutant(
        "one-delivery-at-a-time", "smapd", "len(self._running) < self._settings.deliveries_max",
        "len(self._running) < 1",
        {"MAILER-08": "their delivery"}, ("mailer::test_a_mailer_that_hangs_does_not_stop_the_others[hangs]",),
        "a mailer that hangs stops the site's mail", scale=0.2,
    ),
    Mutant(
        "last-part-decides", "smapd", "            if outcome(status) != DELIVERED:\n",
        "            if part[-1] == self._heading.recipients[-1] and outcome(status) != DELIVERED:\n",
        {"MAILER-09": "the part that failed"},
        ("mailer_parts::test_one_part_that_must_be_tried_again_keeps_the_message[first]",),
        "of several parts only the last one's status counts", scale=0.3,
    ),
    Mutant(
        "never-split", "limit", "ARGUMENT_BYTES_MAX = 96 << 10", "ARGUMENT_BYTES_MAX = 96 << 20",
        {"MAILER-09": "expected its removal"}, ("mailer_parts::test_each_of_many_recipients_is_handed_over_once",),
        "execve(2) says E2BIG, for ever", scale=0.2,
    ),
    Mutant(
        "one-mailer-only", "smapd", "        argv = [*self._settings.sendmail,", '        argv = ["/bin/true",',
        {"MAILER-10": "runs of the mailer"}, ("mailer_parts::test_the_clause_names_the_mailer",),
        "the clause `sendmail` is read and not obeyed",
    ),
    Mutant(
        "words-of-sendmail-dropped", "smapd",
        "argv = [*self._settings.sendmail,", "argv = [self._settings.sendmail[0],",
        {"MAILER-12": "a message with a lone dot"},
        ("ops_mailers::test_a_lone_dot_is_not_the_end_for_a_mailer_that_heeds_it",),
        "the `-i` that a site writes behind its mailer's path is dropped", scale=0.3,
    ),
    Mutant(
        "brackets-kept", "smapd", '*(recipient.decode("ascii") for recipient in recipients)]',
        '*(f"<{recipient.decode(\'ascii\')}>" for recipient in recipients)]',
        {"OPS-03": "as its mailer"}, ("ops_mailers::test_real_mailers_deliver_the_spool",),
        "addresses in angle brackets, which two of seven real mailers refuse", scale=0.3,
    ),
    Mutant(
        "environment-handed-on", "posix/machine", 'self._environment = {"PATH": _PATH, **environment}',
        'self._environment = {b"PATH": _PATH.encode(), **os.environ}',
        {"PRIV-09": "variables of smapd's starter"},
        ("priv::test_the_mailer_inherits_neither_variables_nor_descriptors",),
        "the mailer runs under the variables of whoever started smapd",
    ),
    Mutant(
        "descriptors-handed-on", "posix/delivering",
        "    identity.close_descriptors()\n    identity.open", "    identity.open",
        {"PRIV-09": "descriptors of the mailer"},
        ("priv::test_the_mailer_inherits_neither_variables_nor_descriptors",),
        "what smapd was started with stays open down to the mailer",
    ),
)  # fmt: skip
