"""Tables that cannot be obeyed, each with the one line it gives: `python tests/reference/broken_tables.py` prints them.

A row is the table, the program that reads it, and the complaint. Each clause is wrong in each way it can be; what only
the machine can tell (no such user, no such directory) is not here but with the programs.
"""

import sys
from dataclasses import dataclass

from smap_reference.netperm import TableError, parse

TABLE = "netperm-table"
OBEYED = "obeyed"
GOOD = """\
smap, smapd: userid uucp
smap, smapd: directory /var/spool/smap
smapd: executable /usr/local/libexec/smapd
"""
LINE = GOOD.count("\n") + 1  # the number of the line that a row adds


@dataclass(frozen=True, slots=True)
class Broken:
    text: str
    program: str
    complaint: str


def added(line: str, complaint: str, program: str = "smap") -> Broken:
    """A good table with one more line, which is the wrong one."""
    return Broken(f"{GOOD}{line}\n", program, f"{TABLE} line {LINE}: {complaint}")


def replaced(clause: str, value: str, mend: str) -> Broken:
    """A good table in which one of its clauses has another value, said to smapd, which obeys them all."""
    lines = GOOD.splitlines()
    number = next(number for number, line in enumerate(lines) if f": {clause} " in line)
    lines[number] = f"{lines[number].partition(':')[0]}: {clause} {value}".rstrip()
    shown = f"{clause} {value}" if value else clause
    return Broken("\n".join(lines), "smapd", f"{TABLE} line {number + 1}: {shown}: {mend}")


CLAUSES = [
    *("baddir", "deliveries", "directory", "executable", "mailertime", "maxbytes", "maxrecip"),
    *("sendmail", "sessions", "timeout", "userid", "wakeup"),
]
NUMBERS = ("maxbytes", "maxrecip", "timeout", "sessions", "wakeup", "deliveries", "mailertime")
NUMBER = "give a whole number, 1 or more; leave the line out for the default"
NO_NUMBERS = ("0", "-1", "+1", "1.5", "1e6", "ten", "10k", "10 000", "1_000", "0x10", "\u0663", "\u00b2", "1 # one")
TOO_GREAT = (str(2**63), "1" * 20, "0" * 19 + "1" + "0" * 30, "9" * 5000)
PATH = "give one absolute path"
NO_PATHS = ("spool", "./spool", "~smap", "$SPOOL", '"/spool"', "/var/spool smap", "/spool # here", "/a\u2028b")
NO_USER = "give one user name or number"
NO_UID = "give a number that is a user id"
MAILER = "give the absolute path of a mailer, and after it any arguments it needs"
NO_VALUE = "no value; write it after the clause"
MANDATORY = "this clause is mandatory; add the line"

BROKEN: dict[str, Broken] = {
    # The table as a whole
    "empty": Broken("", "smap", f"{TABLE}: no line `smap: directory …`: {MANDATORY}"),
    "only comments": Broken("# smap: directory /x\n\n", "smapd", f"{TABLE}: no line `smapd: directory …`: {MANDATORY}"),
    "only for others": Broken("tn-gw: directory /x\n", "smap", f"{TABLE}: no line `smap: directory …`: {MANDATORY}"),
    "for the other program": Broken(
        "smap: directory /x\n", "smapd", f"{TABLE}: no line `smapd: directory …`: {MANDATORY}"
    ),
    "no executable": Broken("*: directory /x\n", "smapd", f"{TABLE}: no line `smapd: executable …`: {MANDATORY}"),
    "capitals are another program": Broken(
        "SMAP: directory /x\n", "smap", f"{TABLE}: no line `smap: directory …`: {MANDATORY}"
    ),
    "a byte order mark": Broken(
        f"\ufeffsmap: maxbytes 9\n{GOOD}", "smap", f"{TABLE} line 1: a byte order mark; save the table as plain text"
    ),
    # Lines
    "no colon": added("smap userid uucp", "no colon after the program's name; write `smap: clause value`"),
    "no colon after two names": added(
        "smapd, smap userid uucp", "no colon after the program's name; write `smap: clause value`"
    ),
    "a name alone": added("smapd", "no colon after the program's name; write `smapd: clause value`", "smapd"),
    "no clause": added("smap:", "no clause after the colon; write `smap: clause value`"),
    "no clause but blanks": added("*: \t ", "no clause after the colon; write `smap: clause value`"),
    "a clause nobody knows": added(
        "smap: maxmail 3", f"maxmail: unknown clause; the clauses are {' '.join(CLAUSES)}"
    ),
    "a clause in capitals": added(
        "smap: Timeout 3", f"Timeout: unknown clause; the clauses are {' '.join(CLAUSES)}"
    ),
    "an equals sign": added(
        "smap: timeout=3", f"timeout=3: unknown clause; the clauses are {' '.join(CLAUSES)}"
    ),
    "NUL": added("smap: baddir /x\0y", "a control character; write the line in plain text"),
    "old line ends": added("smap: maxrecip 3\rsmap: maxbytes 4", "a control character; write the line in plain text"),
    "an escape": added("*: baddir /\x1b[31mx", "a control character; write the line in plain text"),
    # Said twice
    "two numbers": Broken(
        f"{GOOD}smap: timeout 3\n*: timeout 4\n", "smap",
        f"{TABLE} line {LINE + 1}: timeout 4: line {LINE} says otherwise; keep one of them",
    ),
    "two directories": added("smap: directory /other", "directory /other: line 2 says otherwise; keep one of them"),
    "two users": added("smap: userid mail", "userid mail: line 1 says otherwise; keep one of them"),
    "two mailers": Broken(
        f"{GOOD}smapd: sendmail /a -i\nsmapd: sendmail /a\n", "smapd",
        f"{TABLE} line {LINE + 1}: sendmail /a: line {LINE} says otherwise; keep one of them",
    ),
    # Values
    **{f"{clause} without a value": added(f"*: {clause}", f"{clause}: {NO_VALUE}") for clause in CLAUSES},
    **{
        f"{clause} {value[:24]}": added(f"smap: {clause} {value}", f"{clause} {value}: {NUMBER}")
        for clause in NUMBERS
        for value in (*NO_NUMBERS, *TOO_GREAT)
    },
    **{f"directory {value}": replaced("directory", value, PATH) for value in NO_PATHS},
    **{f"executable {value}": replaced("executable", value, PATH) for value in NO_PATHS},
    **{f"baddir {value}": added(f"smapd: baddir {value}", f"baddir {value}: {PATH}", "smapd") for value in NO_PATHS},
    **{
        f"sendmail {value}": added(f"smapd: sendmail {value}", f"sendmail {value}: {MAILER}", "smapd")
        for value in ("sendmail", "-t", "PATH=/x /usr/sbin/sendmail", '"/usr/sbin/sendmail"', "|/bin/sh")
    },
    "sendmail with a comment": added(
        "smapd: sendmail /x -i # ours",
        "sendmail /x -i # ours: the mailer would get the comment as arguments; give comments lines of their own",
        "smapd",
    ),
    **{f"userid {value}": replaced("userid", value, NO_USER) for value in ("uucp mail", "uucp # us", "a\u3000b")},
    **{f"userid {value[:24]}": replaced("userid", value, NO_UID) for value in (str(2**32 - 1), *TOO_GREAT)},
    "userid -1": replaced("userid", "-1", "give a user name, or a number that is not negative"),
    "userid -x": replaced("userid", "-x", "give a user name, or a number that is not negative"),
}  # fmt: skip


def complaint(broken: Broken) -> str:
    """What the program really says."""
    try:
        parse(broken.text, TABLE, broken.program)
    except TableError as error:
        return str(error)
    return OBEYED


def main() -> int:
    """Print every line; exit status 1 when one is not as the row says."""
    wrong = 0
    for name, broken in BROKEN.items():
        said = complaint(broken)
        wrong += said != broken.complaint
        shown = said if len(said) < 300 else f"{said[:200]} … {said[-90:]}"
        print(f"{name}\n    {broken.program}: {shown}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
