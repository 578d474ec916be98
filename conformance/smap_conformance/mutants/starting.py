"""Mutants of the start: the table, the root, the user and groups, descriptors, inetd's ways."""

from __future__ import annotations

from smap_conformance.mutants.mutant import Mutant

_JAIL = '        os.chroot(".")\n        os.chdir("/")\n'
_CHANGE = (
    "            os.setgroups([])  # a supplementary group of root's would undo the change of user\n"
    "            os.setresgid(gid, gid, gid)\n            os.setresuid(uid, uid, uid)\n"
)
_FAILED_CHANGE = (
    "    except OSError as error:\n"
    '        raise _refused(settings, "userid", f"{error.strerror}; start the program as root", EX_OSERR) from error\n'
)
_SEEN = "    if os.getresuid() != (uid, uid, uid) or 0 in (*os.getresgid(), *os.getgroups()):\n"
_OWN = '    if program not in names and "*" not in names:\n'

STARTING: tuple[Mutant, ...] = (
    # the table
    Mutant(
        "blanks-before-the-comma", "netperm", 'names = [name.strip() for name in applications.split(",")]',
        'names = [name.lstrip() for name in applications.split(",")]',
        {"CFG-02": "greeting: expected 220; got 421"}, ("cfg::test_a_line_may_be_written_in_many_ways[many blanks]",),
        "`smap , smapd:` names smapd only",
    ),
    Mutant(
        "remarks-obeyed", "netperm", "    text = line.strip()\n", '    text = line.strip().lstrip("#").strip()\n',
        {"CFG-03": "greeting: expected 220; got 421"}, ("cfg::test_remarks_and_blank_lines_are_skipped",),
        "what the administrator switched off is obeyed",
    ),
    Mutant(
        "any-name-with-ours-in-it", "netperm", _OWN, '    if program not in applications and "*" not in names:\n',
        {"CFG-04": "greeting: expected 220; got 421"},
        ("cfg::test_lines_for_other_applications_change_nothing[after ours]",),
        "the lines of smap-gw are ours",
    ),
    Mutant(
        "star-overlooked", "netperm", _OWN, "    if program not in names:\n",
        {"CFG-05": "with `*` in the place of a name"}, ("cfg::test_a_star_means_every_program[a limit]",),
        "a limit for every program is a limit for none",
    ),
    Mutant(
        "users-by-name-only", "posix/identity", "        if settings.userid.isascii() and settings.userid.isdigit():\n",
        "        if not settings.userid:\n",
        {"CFG-06": "greeting: expected 220; got 421"}, ("cfg::test_userid_takes_a_name_and_a_number[a number]",),
        "a number is looked for among the names",
    ),
    Mutant(
        "tabs-are-no-blanks", "netperm", "    words = rest.split(None, 1)\n",
        '    words = rest.strip(" ").split(" ", 1)\n',
        {"CFG-07": "greeting: expected 220; got 421"}, ("cfg::test_the_sample_table_works",),
        "the manual's own sample table cannot be read",
    ),
    Mutant(
        "no-number-is-no-limit", "netperm",
        '        raise ValueError("give a whole number, 1 or more; leave the line out for the default")\n'
        "    return number\n",
        "        return None  # type: ignore[return-value]\n    return number\n",
        {"CFG-08": "expected no 220, or a 421"},
        (
            "cfg_refusal::test_smap_takes_no_mail_with_a_broken_table[maxbytes digits and letters]",
            "cfg_refusal::test_smapd_does_not_start_with_a_broken_table[wakeup negative]",
        ),
        "`maxbytes 12x` is taken for no limit at all",
    ),
    Mutant(
        "complaint-without-a-line", "netperm", '        place = f"{table} line {line_number}: {clause}"\n',
        '        place = "the table"\n',
        {"CFG-08": "expected one line that names 347, maxrecip"},
        ("cfg_refusal::test_smap_takes_no_mail_with_a_broken_table[maxrecip a word]",),
        "the log names neither the line nor the clause, and the mend takes the night",
    ),
    Mutant(
        "executable-not-needed", "netperm", 'self._needed("executable") if program == "smapd" else ""',
        'self._value("executable") or "/bin/true"',
        {"CFG-10": "smapd with no `executable` clause"}, ("cfg_refusal::test_smapd_without_executable_does_not_start",),
        "a smapd that looks alive while the spool fills up",
    ),
    Mutant(
        "another-device-overlooked", "posix/identity", "    if spool.st_dev != bad.st_dev:\n", "    if False:\n",
        {"CFG-14": "that names baddir"}, ("cfg::test_a_baddir_on_another_device_is_refused_or_logged",),
        "each bad message stays and is tried for ever",
    ),
    # the jail
    Mutant(
        "no-chroot", "posix/identity", _JAIL, "        pass\n",
        {"PRIV-01": "the root of smap"}, ("priv::test_smap_is_in_its_jail_before_the_first_byte[nowait]",),
        "smap serves strangers where it was started",
    ),
    Mutant(
        "no-chdir", "posix/identity", _JAIL, '        os.chdir("/tmp")\n        os.chroot(settings.directory)\n',
        {"PRIV-01": "the working directory of smap"}, ("priv::test_smap_is_in_its_jail_before_the_first_byte[nowait]",),
        "the working directory stays outside: the well-known way back out of a chroot",
    ),
    Mutant(
        "inherited-descriptors", "posix/receiving",
        "    identity.close_descriptors()\n    client = _client()\n", "    client = _client()\n",
        {"PRIV-01": "the open directories outside the jail", "PRIV-10": "what smap holds in the middle of DATA"},
        (
            "priv::test_an_inherited_directory_is_no_way_out_of_the_jail",
            "priv::test_smap_holds_the_socket_the_log_and_its_file[started with more-nowait]",
        ),
        "a directory that was open when smap began stays open in the jail",
    ),
    Mutant(
        "table-left-open", "posix/identity", "        finally:\n            os.close(fd)\n",
        "        finally:\n            os.lseek(fd, 0, 0)\n",
        {"PRIV-10": "netperm-table"}, ("priv::test_smap_holds_the_socket_the_log_and_its_file[as it is-nowait]",),
        "the table stays open for whoever takes smap over",
    ),
    Mutant(
        "late-import", "smap", '            said = f"{answer.code} {answer.text}"\n',
        '            import textwrap\n\n            said = textwrap.shorten(f"{answer.code} {answer.text}", 80)\n',
        {"PRIV-06": "reply to b''"}, ("priv_jail::test_everything_works_in_an_empty_directory[syntax errors]",),
        "the first refusal looks for a module that the jail has not",
    ),
    # the user
    Mutant(
        "saved-stays-root", "posix/identity", f"{_CHANGE}{_FAILED_CHANGE}{_SEEN}",
        f"            os.setgroups([])\n            os.setresgid(gid, gid, gid)\n"
        f"            os.setresuid(uid, uid, 0)\n{_FAILED_CHANGE}    if False:\n",
        {"PRIV-02": "real, effective, saved"}, ("priv::test_smap_is_its_user_and_nobody_else[nowait]",),
        "the saved user stays root: one call brings it back",
    ),
    Mutant(
        "groups-kept", "posix/identity",
        "            os.setgroups([])  # a supplementary group of root's would undo the change of user\n",
        "            os.setgroups([group for group in os.getgroups() if group])\n",
        {"PRIV-03": "groups"}, ("priv::test_smap_has_lost_the_groups_it_was_started_with[nowait]",),
        "the groups of inetd's starter still open what the new user must not see",
    ),
    Mutant(
        "failed-chroot-overlooked", "posix/identity",
        '        raise _refused(settings, "directory", f"chroot: {error.strerror}; start smap as root", EX_OSERR)'
        " from error\n",
        "        pass\n",
        {"PRIV-04": "a chroot that the kernel refuses"}, ("priv::test_no_mail_where_the_kernel_refuses[chroot]",),
        "where the chroot fails smap goes on without",
    ),
    Mutant(
        "failed-change-overlooked", "posix/identity", f"{_FAILED_CHANGE}{_SEEN}",
        "    except OSError:\n        pass\n    if False:\n",
        {"PRIV-04": "a change of user that the kernel refuses"},
        ("priv::test_no_mail_where_the_kernel_refuses[change of user]",),
        "where the change of user fails root goes on talking to strangers",
    ),
    Mutant(
        "smapd-stays-root", "posix/delivering",
        "    identity.become(ids, settings)\n    identity.enter(settings, jail=False)\n",
        "    identity.enter(settings, jail=False)\n",
        {"PRIV-05": "uids of"}, ("priv::test_smapd_its_copies_and_the_mailer_are_its_user",),
        "the mailer runs as root",
    ),
    # inetd
    Mutant(
        "complaint-to-the-stranger", "posix/receiving",
        '        log.error(f"refused to start: {refusal}")\n        status = refusal.status\n        try:\n',
        '        log.error(f"refused to start: {refusal}")\n        status = refusal.status\n'
        '        os.write(2, f"{refusal}\\n".encode())\n        try:\n',
        {"OPS-01": "a line from smap"}, ("ops::test_a_stranger_hears_nothing_but_smtp_from_a_smap_that_cannot_start",),
        "descriptor 2 is the client's socket: what the administrator should read goes to the stranger",
    ),
    Mutant(
        "stays-after-the-session", "posix/receiving", "    peer.leave()\n    return status\n",
        "    peer.leave()\n    time.sleep(3600)\n    return status\n",
        {"GATHER-10": "expected an exit"},
        ("gather_end::test_smap_is_gone_when_the_session_is_over[QUIT first of all]",),
        "one process more for each session, until there is no room", scale=0.1,
    ),
    Mutant(
        "one-session-at-a-time", "posix/receiving",
        '        sessions_max = identity.read_settings("smap").sessions_max\n', "        sessions_max = 1\n",
        {"SLOW-04": "expected a reply; got none"}, ("slow::test_stalled_clients_do_not_keep_others_out[wait]",),
        "a single slow client shuts the site", scale=0.1,
    ),
)  # fmt: skip
