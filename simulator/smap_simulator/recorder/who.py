"""Which program each process of a log runs: smap, smapd, copy, mailer.

The first process runs what was started. A fork runs what its parent runs. Executing the mailer makes a mailer, and
whatever a mailer starts is part of it. Executing the table's `executable` makes a copy, where a child of smapd does it
and gives it an argument: smapd's own way to the background may execute it too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from smap_simulator.recorder.strace import FORKS, Call, Ended, parts, text_of


def parents(items: Sequence[Call | Ended]) -> dict[int, tuple[int, int]]:
    """child -> (parent, the line where the call that made it began)."""
    found: dict[int, tuple[int, int]] = {}
    for item in items:
        if isinstance(item, Call) and item.name in FORKS and item.result is not None and item.result > 0:
            found[item.result] = (item.pid, item.began)
    return found


def named(items: Sequence[Call | Ended], first: str, executable: str, mailer: str) -> list[Call | Ended]:
    """The same items, each with its program."""
    made_by = parents(items)
    programs: dict[int, str] = {}

    def program(pid: int) -> str:
        if pid not in programs:
            programs[pid] = program(made_by[pid][0]) if pid in made_by else first
        return programs[pid]

    found = []
    for item in items:
        if isinstance(item, Call) and item.name in ("execve", "execveat") and item.result == 0:
            programs[item.pid] = _executed(item, program(item.pid), item.pid in made_by, executable, mailer)
        found.append(replace(item, program=program(item.pid)))
    return found


def _executed(call: Call, before: str, is_child: bool, executable: str, mailer: str) -> str:
    at = 1 if call.name == "execveat" else 0
    path = text_of(call.arguments[at])
    if before == "mailer" or path == mailer:
        return "mailer"
    if before == "smapd" and is_child and path == executable and len(parts(call.arguments[at + 1])) > 1:
        return "copy"
    return before
