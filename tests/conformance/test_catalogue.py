"""The catalogue's own format, and how rules are chosen from it."""

from __future__ import annotations

from pathlib import Path

import pytest
from smap_conformance import catalogue
from smap_conformance.catalogue import CatalogueError

ROW = '[rule.A-01]\nlevel = "MUST"\nsentence = "s"\nsource = "m"\nwhy = "w"\ntested = "t"\n'


def read(tmp_path: Path, text: str) -> dict[str, catalogue.Rule]:
    path = tmp_path / "rules.toml"
    path.write_text(text, encoding="utf-8")
    return catalogue.read(path)


def test_a_row_is_read(tmp_path: Path) -> None:
    rule = read(tmp_path, ROW)["A-01"]
    assert (rule.chapter, rule.level, rule.tested, rule.untested) == ("A", catalogue.Level.MUST, "t", "")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "holds no rule"),
        ("[rule", "rules.toml: "),
        (ROW.replace('"MUST"', '"must"'), "rule A-01: level 'must' is not MUST, SHOULD or INFO"),
        (ROW.replace('why = "w"\n', ""), "rule A-01: no why"),
        (ROW + 'untested = "u"\n', "rule A-01: wants either `tested` or `untested`"),
        (ROW.replace('tested = "t"', 'tested = ""'), "rule A-01: wants either `tested` or `untested`"),
        (ROW + 'wyh = "w"\n', "rule A-01: unknown field wyh"),
        (ROW + ROW, "rules.toml: "),
    ],
)
def test_a_broken_catalogue_says_where(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(CatalogueError) as caught:
        read(tmp_path, text)
    assert complaint in str(caught.value)


def test_a_missing_catalogue_is_named(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match=r"nowhere\.toml"):
        catalogue.read(tmp_path / "nowhere.toml")


def test_rules_are_chosen_by_id_and_by_chapter() -> None:
    rules = catalogue.rules()
    assert catalogue.matching(rules, "bad-02, mailer-01,") == {"BAD-02", "MAILER-01"}
    assert catalogue.matching(rules, "BAD") == {name for name in rules if name.startswith("BAD-")}
    assert catalogue.matching(rules, "") == set()
    with pytest.raises(CatalogueError, match="no rule or chapter MAIL:"):
        catalogue.matching(rules, "BAD,MAIL")
