"""Writing netperm-table: clauses in, text out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Clauses = Mapping[str, "str | int | Sequence[str | int] | None"]


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
            words = [value] if isinstance(value, str | int) else list(value)
            lines.append(f"{application}: {clause} {' '.join(map(str, words))}".rstrip())
    return "".join(f"{line}\n" for line in lines)


def changed(defaults: Clauses, changes: Clauses | None) -> dict[str, str | int | Sequence[str | int] | None]:
    """The defaults with some clauses replaced, added, or (None) left out."""
    return {**defaults, **(changes or {})}
