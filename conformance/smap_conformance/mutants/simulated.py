"""The simulator's mutants once more, as black boxes: the same snippets, and the rules by which the suite kills them.

A test asks for a row, or a reason, for each of them; one without is not among the black boxes.
"""

from __future__ import annotations

from collections.abc import Mapping

from smap_simulator import mutants as simulator

from smap_conformance.mutants.mutant import Mutant

_CUT = "crash_power::test_whatever_a_power_cut_leaves_of"
_WAY_IN, _DELIVERY, _ASIDE = (f"{_CUT}[{scene}]" for scene in (
    "two messages in one session", "a delivery", "a move to baddir",
))  # fmt: skip

_FAILS_FSYNC, _FAILS_CLOSE = (f"fault_calls::test_a_call_for_a_message_fails[{call}]" for call in ("fsync", "close"))

# By the simulator's names: rule → words, and the cases. No cases: all that the rule has.
_RULES: Mapping[str, tuple[Mapping[str, str], tuple[str, ...]]] = {
    # The way in
    "no-fsync-of-the-data": ({"CRASH-04": "MARK"}, (_WAY_IN,)),
    "no-fsync-of-the-mark": (
        {"CRASH-02": "LOST", "GATHER-07": "mark, data and name durable before the 250"},
        (_WAY_IN, "gather_recorded::test_the_way_in_as_recorded[umask 022]"),
    ),
    "no-fsync-of-the-name": ({"CRASH-03": "LOST"}, (_WAY_IN,)),
    "mark-before-the-data": ({"CRASH-04": "MARK"}, (_WAY_IN,)),
    "one-fsync-for-both": ({"CRASH-04": "MARK"}, (_WAY_IN,)),
    "fdatasync-of-the-mark": ({"CRASH-03": "LOST"}, (_WAY_IN,)),
    "retried-fsync": ({"CRASH-08": "expected anything but 250"}, (_FAILS_FSYNC,)),
    "ignored-fsync-error": ({"CRASH-08": "expected anything but 250"}, (_FAILS_FSYNC,)),
    "ignored-close-error": ({"CRASH-08": "expected anything but 250"}, (_FAILS_CLOSE,)),
    "said-before-it-is-done": (
        {"GATHER-07": "reply to the end of data"},
        ("gather_mark::test_there_is_no_250_when_the_mark_cannot_be_set",),
    ),
    "said-whatever-comes": (
        {"GATHER-07": "reply to the end of data"},
        ("gather_mark::test_there_is_no_250_when_the_mark_cannot_be_set",),
    ),
    # The spool file while it is written
    "marked-from-the-start": (
        {"GATHER-05": "755, and more was to come"},
        ("gather::test_the_mode_is_644_until_the_message_is_complete_whatever_the_umask[umask 022]",),
    ),
    "short-write-ignored": (
        {"FAULT-01": "the whole file after 250"},
        ("fault::test_messages_about_as_large_as_the_room_for_them[3]",),
    ),
    "no-lock": (
        {"GATHER-04": "files without a lock"},
        ("gather::test_each_of_several_sessions_has_a_lock_of_its_own",),
    ),
    "lock-lost-by-a-second-descriptor": (
        {"GATHER-04": "expected flock or fcntl in /proc/locks; got none"},
        ("gather::test_the_file_is_locked_at_each_look_from_its_first_byte_on",),
    ),
    "unlocked-before-the-mark": (
        {"GATHER-06": "expected '755'; got '644'"},
        ("gather::test_who_gets_the_lock_finds_the_mark",),
    ),
    "name-not-exclusive": (
        {"PRIV-08": "expected O_EXCL"},
        ("gather_recorded::test_new_files_are_created_exclusively_and_never_through_a_link",),
    ),
    "refused-and-left-whole": (
        {"GATHER-09": "files in the spool when smap was gone"},
        ("gather_end::test_a_message_that_is_not_completely_gathered_leaves_no_file[reset within the message]",),
    ),
    "recipients-of-the-message-before": (
        {"SMTP-09": "reply to RCPT number 1 with maxrecip 2"},
        ("limit::test_maxrecip_is_counted_for_each_message[a message]",),
    ),
    # The way out
    "644-is-delivered": (
        {"SCAN-04": "what was delivered of files of mode 644"},
        ("scan::test_files_of_mode_644_are_never_delivered",),
    ),
    "delivered-without-the-lock": (
        {"SCAN-03": "expected untouched", "SCAN-05": "what was delivered under the lock"},
        (
            "scan::test_a_locked_message_is_left_alone_until_the_lock_is_gone",
            "scan::test_a_name_that_changes_hands_under_the_lock_is_looked_at_again",
        ),
    ),
    "not-looked-at-again": (
        {"SCAN-05": "once each"},
        ("scan_race::test_who_comes_late_to_the_lock_looks_again",),
    ),
    "removed-before-the-mailer": (
        {"MAILER-04": "expected a second run", "CRASH-01": "messages that had got their 250"},
        (
            "mailer::test_a_temporary_failure_keeps_the_message_for_a_later_scan",
            "crash::test_those_who_deliver_are_killed_amid_a_delivery[everybody]",
        ),
    ),
    "75-is-delivered": ({"MAILER-04": "'gone'"}, ("mailer::test_nothing_but_the_exit_status_counts",)),
    "a-signal-is-delivered": (
        {"MAILER-06": "'gone'"},
        ("mailer::test_death_by_a_signal_never_removes_the_message[with a baddir]",),
    ),
    "any-exit-is-delivered": ({"MAILER-05": "'gone'"}, ("mailer::test_any_other_status_sets_the_message_aside",)),
    "first-part-only": (
        {"MAILER-09": "expected more than one"},
        ("mailer_parts::test_each_of_many_recipients_is_handed_over_once",),
    ),
    "no-fsync-of-the-removal": ({"CRASH-07": "DUPLICATE"}, (_DELIVERY,)),
    "not-held": ({"CRASH-03": "BADDIR"}, (_ASIDE,)),
    "no-fsync-of-baddir": ({"CRASH-03": "BADDIR"}, (_ASIDE,)),
    "copied-aside": (
        {"BAD-01": "device, inode, mode", "CRASH-06": "a crash of"},
        ("bad::test_the_move_is_a_rename", "crash_power::test_a_power_cut_in_the_recovery_from_one[a move to baddir]"),
    ),
    "replaced-aside": ({"BAD-02": "what had the name"}, ("bad::test_what_has_the_name_already_survives[a file]",)),
    "unreadable-is-delivered": (
        {"SCAN-09": "files whose heading cannot be read, in baddir"},
        ("scan_oddities::test_a_heading_that_cannot_be_read_is_never_mailed_and_never_lost[with baddir]",),
    ),
    "one-trouble-ends-all": (
        {"FAULT-04": "expected True; got False"},
        ("fault_smapd::test_smapd_outlives_failing_calls[look]",),
    ),
    "taken-from-somebody-else": (
        {"SCAN-03": "expected untouched"},
        ("scan::test_a_locked_message_is_left_alone_until_the_lock_is_gone",),
    ),
    "tried-only-once": (
        {"MAILER-04": "expected a second run"},
        ("mailer::test_a_temporary_failure_keeps_the_message_for_a_later_scan",),
    ),
    "does-not-stop": ({"SCAN-11": "expected its end"}, ("scan::test_sigterm_ends_an_idle_smapd",)),
    "delivered-again-and-again": (
        {"FAULT-05": "deliveries of a message that cannot be removed"},
        ("fault_disk::test_what_was_delivered_cannot_be_removed[not ours to write]",),
    ),
    "owed-and-forgotten": (
        {"FAULT-05": "deliveries of a message that cannot be removed"},
        ("fault_disk::test_what_was_delivered_cannot_be_removed[not ours to write]",),
    ),
}
# What is no black box of its own: no rule of the catalogue is broken by it, or another row is the same.
REFERENCE_ONLY: Mapping[str, str] = {
    "no-fsync-of-the-spool": "after a power cut what was set aside may lie in the spool too, and is tried again",
    "never-let-go": "the same snippet is among the black boxes already: no-timeout",
}
# Of the bounds, where something never comes.
_SCALES = {"tried-only-once": 0.2, "does-not-stop": 0.2}
# What the simulator's disk offers and the reference's does not.
_INSTEAD = {"fdatasync-of-the-mark": '__import__("posix").fdatasync(self._fd)\n'}


def _as_black_box(name: str) -> Mutant:
    of_the_simulator = simulator.named(name)
    breaks, cases = _RULES[name]
    instead = _INSTEAD.get(name, of_the_simulator.instead)
    why = of_the_simulator.why
    snippets = of_the_simulator.module, of_the_simulator.snippet, instead
    return Mutant(name, *snippets, breaks, cases, why, _SCALES.get(name, 1.0))


SIMULATED: tuple[Mutant, ...] = tuple(
    _as_black_box(mutant.name) for mutant in simulator.MUTANTS if mutant.name in _RULES
)
