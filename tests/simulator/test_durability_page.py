"""docs/durability.md says what the code says."""

from durability_page import PAGE, drawn
from smap_simulator import check, conduct
from smap_simulator.check import SENTENCES


def test_the_tables_of_the_page_are_those_of_the_code() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == drawn(page), "draw it again: python tests/simulator/durability_page.py"


def test_each_word_of_a_verdict_is_explained() -> None:
    words = {check.LOST, check.PARTIAL, check.MARKED, check.DUPLICATE, check.BADDIR, check.STUCK}
    words |= {conduct.LOCK, conduct.PROMISE, conduct.KEPT}
    page = PAGE.read_text(encoding="utf-8")
    assert [word for word in sorted(words) if f"| {word} | " not in page] == []


def test_each_rule_that_can_be_broken_has_a_sentence() -> None:
    assert all(sentence and not sentence.endswith(".") for sentence in SENTENCES.values())
