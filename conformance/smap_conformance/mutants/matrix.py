"""The kill matrix: which mutant is killed by which rule and case, as plain values that ship with the suite.

`kill_matrix.json` is written by `smaplab mutants --black-box --precision --json`, and read by the report and by
docs/teeth.md. Nothing in it depends on the clock or on the machine: no times, and of a failure only its beginning.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smap_conformance.catalogue import Rule
from smap_conformance.mutants.trial import Trial

PATH = Path(__file__).parent.parent / "kill_matrix.json"
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Row:
    """One mutant. `kills` are (rule, case); `unrelated` None where nobody looked; `also` are declared consequences."""

    mutant: str
    module: str
    why: str
    kills: tuple[tuple[str, str], ...]
    lives: tuple[str, ...] = ()  # rules that it should have broken
    also: tuple[tuple[str, str], ...] = ()
    unrelated: tuple[str, ...] | None = None


def row(trial: Trial) -> Row:
    """What is kept of a trial."""
    mutant = trial.mutant
    return Row(
        mutant.name,
        mutant.module,
        mutant.why,
        tuple((kill.rule, kill.case) for kill in trial.kills if kill.is_one),
        tuple(kill.rule for kill in trial.kills if not kill.is_one),
        tuple(sorted(mutant.also.items())),
        None if trial.unrelated is None else tuple(rule for rule, _ in trial.unrelated),
    )


def as_json(rows: Iterable[Row]) -> str:
    """The file's text."""
    plain = [
        {
            "mutant": one.mutant,
            "module": one.module,
            "why": one.why,
            "kills": [{"rule": rule, "case": case} for rule, case in one.kills],
            "lives": list(one.lives),
            "also": dict(one.also),
            "unrelated": None if one.unrelated is None else list(one.unrelated),
        }
        for one in rows
    ]
    return json.dumps({"schema": SCHEMA, "mutants": plain}, indent=1, ensure_ascii=False) + "\n"


def read(path: Path = PATH) -> list[Row]:
    """The rows of a file. ValueError when it is none of ours."""
    plain = json.loads(path.read_text(encoding="utf-8"))
    if plain.get("schema") != SCHEMA:
        raise ValueError(f"{path}: schema {plain.get('schema')!r} is not {SCHEMA}")
    return [_row(entry) for entry in plain["mutants"]]


def _row(plain: dict[str, Any]) -> Row:
    return Row(
        plain["mutant"],
        plain["module"],
        plain["why"],
        tuple((kill["rule"], kill["case"]) for kill in plain["kills"]),
        tuple(plain["lives"]),
        tuple(sorted(plain["also"].items())),
        None if plain["unrelated"] is None else tuple(plain["unrelated"]),
    )


def killers(rows: Iterable[Row]) -> dict[str, list[str]]:
    """Rule → the mutants that it kills."""
    found: dict[str, list[str]] = {}
    for one in rows:
        for rule, _ in one.kills:
            found.setdefault(rule, []).append(one.mutant)
    return found


def as_markdown(rows: Iterable[Row], rules: Mapping[str, Rule], without: Mapping[str, str]) -> Iterator[str]:
    """Two tables for a page: the rules with what each kills, and the mutants with what each does."""
    rows = list(rows)
    by_rule = killers(rows)
    yield "| rule | level | kills |"
    yield "|---|---|---|"
    for name, rule in rules.items():
        if name in by_rule:
            yield f"| {name} | {rule.level.value} | {', '.join(f'`{mutant}`' for mutant in by_rule[name])} |"
        elif name in without:
            yield f"| {name} | {rule.level.value} | none: {without[name]} |"
    yield ""
    yield "| mutant | module | what is wrong | killed by | fails as well |"
    yield "|---|---|---|---|---|"
    for one in rows:
        killed = "; ".join(f"{rule}: `{_cell(case)}`" for rule, case in one.kills) or "nothing"
        also = "; ".join(f"{rule}: {why}" for rule, why in one.also)
        yield f"| `{one.mutant}` | `{one.module}` | {_cell(one.why)} | {killed} | {_cell(also)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
