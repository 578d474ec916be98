"""docs/dialogue.md is what the table of transitions draws."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from smap_reference.session import ENDED, GATHERING, GREETED, START, TRANSITIONS

ROOT = Path(__file__).resolve().parents[2]
DRAW = "docs/draw_dialogue.py"


@pytest.fixture
def draw() -> ModuleType:
    spec = importlib.util.spec_from_file_location("draw_dialogue", ROOT / DRAW)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_the_table(draw: ModuleType) -> None:
    page = ROOT / "docs/dialogue.md"
    assert page.read_text(encoding="utf-8") == draw.page(), f"draw it again: python {DRAW}"


def test_the_picture_has_every_transition(draw: ModuleType) -> None:
    drawn = re.findall(r"^    (\w+) --> (\w+): (.+)$", draw.page(), re.MULTILINE)
    pairs = {(state, verb): after for state, after, said in drawn for verb in said.split(", ")}
    assert pairs.pop((GATHERING, "end of data")) == GREETED
    assert pairs == {(state, verb.decode()): after for (state, verb), (_, after) in TRANSITIONS.items()}


def test_the_table_of_the_page_has_every_pair(draw: ModuleType) -> None:
    head, _, *rows = [
        [cell.strip(" *") for cell in line.strip("|").split("|")]
        for line in draw.page().splitlines()
        if line[:1] == "|"
    ]
    for row in rows:
        for verb, cell in zip(head[1:], row[1:], strict=True):
            after = TRANSITIONS.get((row[0], verb.encode()), ("", "503"))[1]
            assert cell == ("stays" if after == row[0] else after)
    assert {row[0] for row in rows} == {state for state, _ in TRANSITIONS}


def test_a_changed_table_is_a_changed_page(draw: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    before = draw.page()
    monkeypatch.setitem(TRANSITIONS, (START, b"NOOP"), ("_noop", ENDED))
    assert draw.page() != before
