"""What else breaks with a mutant: MUST rules beside those that it is made to break, and why each must fail as well.

Seen by `smaplab mutants --black-box --precision`, looked through by hand. A rule that fails and does not stand here is
an imprecision of the suite, or of the mutant.
"""

from __future__ import annotations

from collections.abc import Mapping


def _because(why: str, rules: str) -> Mapping[str, str]:
    return dict.fromkeys(rules.split(), why)


CONSEQUENCES: Mapping[str, Mapping[str, str]] = {
    "said-before-it-is-done": _because(
        "a message that was promised is not whole yet when it is looked for: where, is a matter of who is quicker",
        "PRIV-07 SMTP-02 SMTP-03 SMTP-05 SMTP-06 SMTP-07 SMTP-08 SMTP-09 SMTP-12 SMTP-16 GATHER-02 LIMIT-01 LIMIT-02 "
        "LIMIT-06 SCAN-02 SCAN-04 SCAN-08 MAILER-01 MAILER-02 MAILER-03 MAILER-04 MAILER-07 MAILER-08 MAILER-10 "
        "BAD-01 BAD-02 BAD-03 FAULT-01",
    ),
    "marked-from-the-start": _because(
        "what is marked from the start is marked when the client goes, too",
        "GATHER-08",
    ),
    "created-whole": _because(
        "what is whole from its creation on is whole when the client goes, too",
        "GATHER-08",
    ),
    "saved-stays-root": _because(
        "one piece of code makes smap and smapd their user, and these look at the ids of both",
        "CFG-06 PRIV-05",
    ),
    "unlocked-before-the-mark": _because(
        "the mark is set by a second open of the file, which follows a link",
        "PRIV-08",
    ),
    "recipients-of-the-message-before": _because(
        "who was named before RSET, or in the message before, gets this one as well",
        "SMTP-08 SCAN-06 SCAN-08",
    ),
    "tried-only-once": _because(
        "a message that was busy at the first scan is never tried again",
        "MAILER-02",
    ),
    "75-is-delivered": _because(
        "a mailer that leaves its input unread says 75 too",
        "MAILER-07",
    ),
    "any-exit-is-delivered": _because(
        "what a mailer refuses is removed, so nothing comes to baddir",
        "MAILER-07 BAD-01 BAD-02 BAD-03",
    ),
    "removed-before-the-mailer": _because(
        "the message is gone before the mailer sees it: nothing arrives",
        "CFG-02 CFG-03 CFG-04 CFG-06 CFG-07 PRIV-06 PRIV-07 SMTP-02 SMTP-03 SMTP-05 SMTP-06 SMTP-07 SMTP-08 "
        "SMTP-09 SMTP-12 SMTP-16 GATHER-02 LIMIT-02 LIMIT-06 SCAN-06 MAILER-01 MAILER-07 MAILER-08 MAILER-10 "
        "BAD-01 BAD-02 BAD-03 SLOW-01",
    ),
    "copied-aside": _because(
        "a message without a reader is set aside in the same way",
        "MAILER-07",
    ),
    "one-name-for-all": _because(
        "the second message meets the name of the first: only one at a time is taken",
        "PRIV-08 SMTP-07 SMTP-09 GATHER-02 SCAN-03 SCAN-04 SCAN-06 SCAN-08 MAILER-01 MAILER-07 MAILER-08 "
        "BAD-01 BAD-02 BAD-03 FAULT-01 OPS-01",
    ),
    "failed-write-overheard": _because(
        "a full disk is a failing write",
        "FAULT-01",
    ),
    "copied-and-removed": _because(
        "a copy replaces what has its name",
        "BAD-02",
    ),
    "in-memory-for-a-moment": _because(
        "the move is no rename, and fails in other ways",
        "BAD-01 BAD-02 BAD-03",
    ),
    "rcpt-without-mail": _because(
        "after RSET, and after a refused command, RCPT is out of order too",
        "SMTP-08 SMTP-11",
    ),
    "null-sender-refused": _because(
        "the envelopes of every kind have one with the null sender",
        "GATHER-02",
    ),
    "rset-forgets-nothing": _because(
        "messages of one session are parted by RSET",
        "SMTP-09",
    ),
    "reads-once-for-each-command": _because(
        "a command in several segments is never answered",
        "LIMIT-05",
    ),
    "dots-stay-doubled": _because(
        "every body with a dot in front of a line is another",
        "SMTP-09 SMTP-16 GATHER-02 SCAN-02 MAILER-03 SLOW-01",
    ),
    "dots-eaten": _because(
        "every body with a dot in front of a line is another",
        "SMTP-09 SMTP-16 GATHER-02 SCAN-02 MAILER-03 SLOW-01",
    ),
    "nul-dropped": _because(
        "one of the bodies has a NUL",
        "GATHER-02",
    ),
    "seven-bits": _because(
        "the delivery that shows that the plug fits has every byte in it",
        "SCAN-02 MAILER-03",
    ),
    "end-in-pieces-missed": _because(
        "a body sent in pieces is never ended",
        "GATHER-07",
    ),
    "cut-at-maxbytes": _because(
        "one of the messages in one session is over the limit",
        "SMTP-09",
    ),
    "maxbytes-ignored": _because(
        "one of the messages in one session is over the limit",
        "SMTP-09",
    ),
    "one-recipient-more": _because(
        "that a table is obeyed shows by its maxrecip",
        "CFG-01 CFG-02 CFG-03 CFG-04 CFG-07",
    ),
    "one-recipient-less": _because(
        "that a table is obeyed shows by its maxrecip",
        "CFG-01 CFG-02 CFG-03 CFG-04 CFG-07 SMTP-09",
    ),
    "maxrecip-ignored": _because(
        "that a table is obeyed shows by its maxrecip",
        "CFG-02 CFG-03 CFG-04 CFG-07 LIMIT-02",
    ),
    "no-timeout": _because(
        "a slow client is a silent one",
        "SLOW-02 SLOW-03",
    ),
    "mails-everything-twice": _because(
        "each message arrives twice, and most rules are judged by what arrives",
        "CFG-02 CFG-03 CFG-04 CFG-06 CFG-07 PRIV-06 PRIV-07 SMTP-02 SMTP-03 SMTP-05 SMTP-06 SMTP-07 SMTP-08 "
        "SMTP-12 SMTP-16 LIMIT-02 LIMIT-06 SCAN-03 SCAN-06 SCAN-08 MAILER-01 MAILER-03 MAILER-04 MAILER-08 "
        "MAILER-10 SLOW-01",
    ),
    "scans-once": _because(
        "what comes after the first scan stays where it is",
        "SCAN-03 SCAN-04 SCAN-08 MAILER-02 MAILER-04 MAILER-07 MAILER-08 BAD-03",
    ),
    "one-message-stops-the-others": _because(
        "what stands behind a message that fails stays where it is",
        "MAILER-02 MAILER-04 MAILER-08 BAD-03",
    ),
    "recipients-in-one-argument": _because(
        "two recipients are one word to the mailer",
        "SMTP-09 GATHER-02 LIMIT-02 SCAN-02 MAILER-03",
    ),
    "through-a-shell": _because(
        "the shell takes an empty sender, and a blank, for itself",
        "SMTP-07 GATHER-02",
    ),
    "no-dash-f": _because(
        "no sender arrives, and most rules are judged by what arrives",
        "CFG-02 CFG-03 CFG-04 CFG-06 CFG-07 PRIV-06 PRIV-07 SMTP-02 SMTP-03 SMTP-05 SMTP-06 SMTP-07 SMTP-08 "
        "SMTP-09 SMTP-12 SMTP-16 GATHER-02 LIMIT-02 LIMIT-06 SCAN-02 SCAN-04 SCAN-06 SCAN-08 MAILER-02 "
        "MAILER-03 MAILER-04 MAILER-07 MAILER-08 BAD-03 SLOW-01",
    ),
    "heading-mailed-as-well": _because(
        "no body arrives as it was sent, and most rules are judged by what arrives",
        "CFG-02 CFG-03 CFG-04 CFG-07 PRIV-06 PRIV-07 SMTP-03 SMTP-06 SMTP-09 SMTP-12 SMTP-16 GATHER-02 "
        "LIMIT-06 SCAN-02 SCAN-03 SCAN-06 SCAN-08 MAILER-03 SLOW-01",
    ),
    "every-exit-tried-again": _because(
        "nothing comes to baddir",
        "MAILER-07 BAD-01",
    ),
    "not-removed": _because(
        "each message arrives at every scan, and most rules are judged by what arrives",
        "CFG-02 CFG-03 CFG-04 CFG-06 CFG-07 PRIV-06 PRIV-07 SMTP-02 SMTP-03 SMTP-05 SMTP-06 SMTP-07 SMTP-08 "
        "SMTP-09 SMTP-12 SMTP-16 GATHER-02 LIMIT-02 LIMIT-06 SCAN-02 SCAN-03 SCAN-04 SCAN-06 SCAN-08 "
        "MAILER-01 MAILER-02 MAILER-04 MAILER-07 MAILER-08 MAILER-10 BAD-03 SLOW-01",
    ),
    "unread-is-set-aside": _because(
        "a mailer that fails before it has read leaves its input unread",
        "MAILER-02 MAILER-04",
    ),
    "one-mailer-only": _because(
        "nothing arrives at the mailer of the table, and most rules are judged by what arrives",
        "CFG-02 CFG-03 CFG-04 CFG-06 CFG-07 PRIV-05 PRIV-06 PRIV-07 SMTP-02 SMTP-03 SMTP-05 SMTP-06 SMTP-07 "
        "SMTP-08 SMTP-09 SMTP-12 SMTP-16 GATHER-02 LIMIT-02 LIMIT-06 SCAN-02 SCAN-03 SCAN-04 SCAN-06 SCAN-08 "
        "MAILER-01 MAILER-03 MAILER-04 MAILER-07 MAILER-08 BAD-01 BAD-02 BAD-03 SLOW-01",
    ),
    "any-name-with-ours-in-it": _because(
        "a clause of another program is obeyed",
        "CFG-01",
    ),
    "tabs-are-no-blanks": _because(
        "the lists of names have tabs in them",
        "CFG-02",
    ),
    "no-chdir": _because(
        "the spool directory is not where smap works: no mail is taken",
        "CFG-01 CFG-02 CFG-03 CFG-04 CFG-06 CFG-07 CFG-10 PRIV-05 PRIV-06 PRIV-07 PRIV-08 SMTP-02 SMTP-03 "
        "SMTP-04 SMTP-05 SMTP-06 SMTP-07 SMTP-08 SMTP-09 SMTP-11 SMTP-12 SMTP-16 GATHER-02 LIMIT-01 LIMIT-02 "
        "LIMIT-06 SCAN-02 SCAN-03 SCAN-04 SCAN-06 SCAN-08 MAILER-01 MAILER-02 MAILER-03 MAILER-04 MAILER-07 "
        "MAILER-08 MAILER-10 BAD-01 BAD-02 BAD-03 FAULT-01 SLOW-01 OPS-01",
    ),
    "late-import": _because(
        "smap ends at its first refusal, having lost what it would import",
        "CFG-01 CFG-02 CFG-03 CFG-04 CFG-07 SMTP-03 SMTP-04 SMTP-08 SMTP-09 SMTP-10 SMTP-11 LIMIT-01 LIMIT-02 "
        "LIMIT-05 FAULT-01",
    ),
    "smapd-stays-root": _because(
        "that `userid` is obeyed shows by the mailer's user",
        "CFG-02 CFG-03 CFG-04 CFG-06 CFG-07",
    ),
    "stays-after-the-session": _because(
        "most cases wait for the end of smap before they look",
        "CFG-01 CFG-02 CFG-03 CFG-04 CFG-06 CFG-07 CFG-08 CFG-10 PRIV-04 PRIV-05 PRIV-06 PRIV-07 PRIV-08 "
        "SMTP-09 SMTP-11 SMTP-13 GATHER-02 GATHER-08 LIMIT-03 SCAN-02 SCAN-03 SCAN-04 SCAN-06 SCAN-08 "
        "MAILER-01 MAILER-02 MAILER-03 MAILER-04 MAILER-07 MAILER-08 MAILER-10 BAD-01 BAD-02 BAD-03 SLOW-02 "
        "SLOW-03",
    ),
}
