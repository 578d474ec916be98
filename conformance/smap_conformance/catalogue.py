"""The catalogue of rules, read from `requirements.toml`: what each says, where it comes from, why it matters."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path

PATH = Path(__file__).with_name("requirements.toml")
FIELDS = frozenset({"level", "sentence", "source", "why", "tested", "untested"})


class Level(Enum):
    """How much a rule weighs: a broken MUST is a failure, a missed SHOULD is reported, an INFO is recorded."""

    MUST = "MUST"
    SHOULD = "SHOULD"
    INFO = "INFO"


class CatalogueError(Exception):
    """A catalogue that breaks its own format: names the rule and the field."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. Exactly one of `tested` (how) and `untested` (why not) has text."""

    id: str
    level: Level
    sentence: str
    source: str
    why: str
    tested: str = ""
    untested: str = ""

    @property
    def chapter(self) -> str:
        """CFG, PRIV, SMTP …"""
        return self.id.rpartition("-")[0]


def read(path: Path) -> dict[str, Rule]:
    """The rules of one file, in its order. CatalogueError names what is wrong."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise CatalogueError(f"{path}: {error}") from None
    rules: dict[str, Rule] = {}
    for name, fields in table.get("rule", {}).items():
        if unknown := sorted(set(fields) - FIELDS):
            raise CatalogueError(f"{path.name}: rule {name}: unknown field {', '.join(unknown)}")
        if missing := sorted({"level", "sentence", "source", "why"} - set(fields)):
            raise CatalogueError(f"{path.name}: rule {name}: no {', '.join(missing)}")
        if fields["level"] not in Level.__members__:
            raise CatalogueError(f"{path.name}: rule {name}: level {fields['level']!r} is not MUST, SHOULD or INFO")
        if bool(fields.get("tested")) == bool(fields.get("untested")):
            raise CatalogueError(f"{path.name}: rule {name}: wants either `tested` or `untested`")
        rules[name] = Rule(id=name, **{**fields, "level": Level[fields["level"]]})
    if not rules:
        raise CatalogueError(f"{path}: holds no rule")
    return rules


@cache
def rules() -> dict[str, Rule]:
    """The suite's catalogue."""
    return read(PATH)


@cache
def chapters() -> dict[str, str]:
    """Chapter → what it is about, in the catalogue's order."""
    table = tomllib.loads(PATH.read_text(encoding="utf-8"))
    return {name: str(row["title"]) for name, row in table["chapter"].items()}


def matching(catalogue: dict[str, Rule], words: str) -> set[str]:
    """Rule ids chosen by a comma-separated list of ids and chapters; CatalogueError names what matches nothing."""
    chosen: set[str] = set()
    for word in filter(None, (part.strip().upper() for part in words.split(","))):
        found = {name for name, rule in catalogue.items() if word in (name, rule.chapter)}
        if not found:
            raise CatalogueError(f"no rule or chapter {word}: `smaplab list` shows them all")
        chosen |= found
    if words and not chosen:  # for whoever asks nothing at all, all rules are chosen
        raise CatalogueError(f"no rule in {words!r}: `smaplab list` shows them all")
    return chosen
