"""Logs of strace written for people: plain strings and paths here, hexadecimal as strace has them there."""

from __future__ import annotations

import re
from collections.abc import Sequence

from smap_simulator.image import Image, spool_image
from smap_simulator.recorder import strace, who
from smap_simulator.recorder.record import Log, Recording, Setting, record
from smap_simulator.recorder.strace import Call, Ended

DISK = "/d"  # where the watched disk is
MAILER, EXECUTABLE = "/usr/sbin/sendmail", "/usr/libexec/smapd"
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"|<((?:/|socket:|pipe:)[^<>]*)>')


def log_text(text: str) -> str:
    """The log as strace writes it. Each line `PID REST`; times are counted up, in milliseconds."""

    def hexed(found: re.Match[str]) -> str:
        inner = found[1] if found[1] is not None else found[2]
        data = inner.encode("latin-1").decode("unicode_escape").encode("latin-1")
        word = "".join(f"\\x{byte:02x}" for byte in data)
        return f'"{word}"' if found[1] is not None else f"<{word}>"

    lines = []
    for number, line in enumerate(text.strip().splitlines()):
        pid, _, rest = line.strip().partition(" ")
        lines.append(f"{pid} {1000 + number / 1000:.6f} {_STRING.sub(hexed, rest)}\n")
    return "".join(lines)


def items(text: str, first: str = "smap") -> list[Call | Ended]:
    """What the log says, programs named."""
    return who.named(strace.read(log_text(text)), first, EXECUTABLE, MAILER)


def recorded(
    *texts: str, start: Image | None = None, script: bytes | None = None, sessions: Sequence[int] = ()
) -> Recording:
    """The recording of one log, or of several at once: the first is smap's, the others are smapd's."""
    logs = [
        Log(
            items(text, "smapd" if number else "smap"),
            tuple(sessions) if not number else (),
            (script,) if sessions else (),
        )
        for number, text in enumerate(texts)
    ]
    return record(logs, Setting(start or spool_image(), (DISK,)))
