"""Writing netperm-table: clauses in, text out; and putting it where a program looks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path

Value = str | int | Path | Sequence[str | int] | None
Clauses = Mapping[str, Value]


def table(applications: Mapping[str, Clauses]) -> str:
    """One `application: clause value…` line for each clause; a clause whose value is None is left out.

    >>> print(table({"smap": {"userid": "mail", "maxbytes": 1000, "timeout": None}}), end="")
    smap: userid mail
    smap: maxbytes 1000
    """
    lines = []
    for application, clauses in applications.items():
        for clause, value in clauses.items():
            if value is None:
                continue
            words = [value] if isinstance(value, str | int | Path) else list(value)
            lines.append(f"{application}: {clause} {' '.join(map(str, words))}".rstrip())
    return "".join(f"{line}\n" for line in lines)


def changed(defaults: Clauses, changes: Clauses | None) -> dict[str, Value]:
    """The defaults with some clauses replaced, added, or (None) left out."""
    return {**defaults, **(changes or {})}


class Unreadable(Enum):
    """What stands in the place of a table that is there and cannot be read."""

    DIRECTORY = "a directory"
    LOOP = "a symbolic link to itself"
    FORBIDDEN = "a file of mode 000"  # no obstacle for root


Content = str | Unreadable | None


def put(path: Path, content: Content) -> None:
    """Let the table at `path` be this text, or something unreadable; None: there is none."""
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
    if content is Unreadable.DIRECTORY:
        path.mkdir()
    elif content is Unreadable.LOOP:
        path.symlink_to(path.name)
    elif content is not None:
        text = content if isinstance(content, str) else ""
        path.write_text(text, encoding="utf-8")
        path.chmod(0 if content is Unreadable.FORBIDDEN else 0o644)
