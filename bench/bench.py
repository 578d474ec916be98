"""What the reference costs, by what it cannot do without: `python bench/bench.py`, as root, on a real disk.

    (a) from accept to the greeting in nowait mode, by one run of the bare interpreter
    (b) messages a second through wait mode, by the bare system calls of one message in a loop
    (c) messages a second that smapd delivers to /bin/true, by one run of the bare interpreter and one of /bin/true
        for each, as many at a time
    (d) memory of an idle session, by an idle interpreter

The two sides of each ratio take turns; the table gives medians. Exit status: 0 all bars hold, 1 one is missed,
64 wrong arguments, 69 nothing can be measured here.
"""

import argparse
import os
import platform
import shlex
import signal
import sys
import time
from pathlib import Path
from types import FrameType

import measure
from measure import Row
from rig import NOT_A_DISK, CannotMeasureError, Rig, file_system, interpreter

PAGE = Path(__file__).resolve().parent.parent / "docs" / "bench.md"
STARTS = 20  # a start is short, and differs much from the next
LOADS = ((1, 1), (1, 10), (8, 1), (8, 10), (64, 1), (64, 10))  # clients, messages a session


def measured(rig: Rig, rounds: int, only: str) -> list[Row]:
    """Run the measures named by their letters; progress goes to stderr."""
    rows: list[Row] = []

    def keep(*found: Row) -> None:
        rows.extend(found)
        for row in found:
            print(f"  {row.what}: {row.ratio:.2f}", file=sys.stderr)

    if "a" in only:
        keep(measure.greeting(rig, rounds * STARTS))
    if "b" in only:
        for clients, messages in LOADS:
            keep(measure.taking(rig, rounds, clients, messages))
        keep(measure.taking(rig, rounds, 8, 10, "pipelined"))
    if "c" in only:
        keep(measure.draining(rig, rounds))
    if "d" in only:
        keep(*measure.memory(rig))
    return rows


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table, aligned so that it reads on a terminal too."""
    head = ("what", "unit", "measured", "beside it", "ratio", "bar", "")
    cells = [head, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines) + "\n"


def _cells(row: Row) -> tuple[str, ...]:
    digits = 1 if row.unit == "ms" else 0
    bar = "" if row.bar is None else f"{row.bar[0]} {row.bar[1]}"
    verdict = "" if row.bar is None else "holds" if row.holds else "MISSED"
    numbers = (f"{row.measured:.{digits}f}", f"{row.beside:.{digits}f}", f"{row.ratio:.2f}")
    return row.what, row.unit, *numbers, bar, verdict


def circumstances(rig: Rig, rounds: int) -> str:
    """Where the numbers were made."""
    facts = {
        "command": shlex.join(["python", "bench/bench.py", *sys.argv[1:]]),
        "rounds": f"{rounds}, and {rounds * STARTS} of the start-up",
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "file system": file_system(rig.root),
        "python": f"{platform.python_version()} measuring, {rig.python} measured",
        "syslog": "listening" if Path("/dev/log").exists() else "none",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    return "\n".join(f"- {name}: {value}" for name, value in facts.items()) + "\n"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rounds", type=int, default=7, help=f"turns of each pair ({STARTS} times as many for the start-up)"
    )
    parser.add_argument("--only", default="abcd", help="letters of the measures to run")
    parser.add_argument("--scratch", default="/var/tmp", help="where to make a directory of our own; a real disk")
    parser.add_argument("--python", help="the interpreter to run the reference with")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name} in docs/ too")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error("--rounds: 1 or more")
    return arguments


def _must_be_able(scratch: str) -> None:
    if os.geteuid() != 0:
        raise CannotMeasureError("smap changes its root and its user: run this as root")
    if file_system(scratch) in NOT_A_DISK:
        raise CannotMeasureError(f"{scratch} is on no disk: name a directory on one with --scratch")


def _interrupted(signum: int, _: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.strsignal(signum))


def main() -> int:
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        arguments = _arguments()
    except SystemExit as error:
        return os.EX_USAGE if error.code else 0
    try:
        _must_be_able(arguments.scratch)
        with Rig(arguments.scratch, interpreter(arguments.python)) as rig:
            rows = measured(rig, arguments.rounds, arguments.only)
            page = f"{table(rows)}\n{circumstances(rig, arguments.rounds)}"
    except CannotMeasureError as error:
        print(f"bench: {error}", file=sys.stderr)
        return os.EX_UNAVAILABLE
    except KeyboardInterrupt:
        print("bench: interrupted; all is cleaned up", file=sys.stderr)
        return 128 + signal.SIGINT
    print(page, end="")
    if arguments.write:
        PAGE.write_text(_ABOUT + page, encoding="utf-8")
    return 0 if all(row.holds for row in rows) else 1


_ABOUT = """\
# What the reference costs

Made by `tox -e bench -- --write`, as root. Each row is a ratio to what the reference cannot do without, measured in
turns with it on the same machine: a ratio holds on another machine, the numbers do not. Both numbers are medians of all
rounds, and the ratio is the median of the rounds' ratios.

- *accept to 220, nowait*: from the accepted connection until the greeting is read, beside one run of
  `python3 -I -S -c pass`.
- *taken, wait*: messages of 1 kB through one smap that accepts and forks, every command waiting for its reply, beside a
  loop of create, write, fsync, fchmod, fsync and fsync of the directory, in the same directory, with no network and no
  second process. Where it is over 1, sessions have shared the disk's work.
- *delivered to /bin/true*: what smapd makes of a full spool directory, from its start on, beside one run of
  `python3 -I -S -c pass` and one of `/bin/true` for each message, ten at a time as smapd has them: for each message a
  program is executed, and a mailer by that program.
- *memory of an idle session*: what a process has for itself (USS) and with its share of what it shares (PSS), beside
  an interpreter that waits for input.

"""

if __name__ == "__main__":
    sys.exit(main())
