"""The manual pages: they are what the docstrings say, and roff reads them."""

import ast
import importlib.util
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
DRAW = "docs/draw_manuals.py"
PROGRAMS = ("smap", "smapd")


def drawing() -> ModuleType:
    spec = importlib.util.spec_from_file_location("draw_manuals", ROOT / DRAW)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=PROGRAMS)
def program(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def rendered(program: str, needs: Callable[..., str]) -> str:
    """The page as a terminal shows it, without bold and italics."""
    argv = [needs("groff", package="groff-base"), "-man", "-ww", "-Tutf8", "-P-cbou", f"docs/man/{program}.8"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def docstring_of(program: str) -> str:
    text = ast.get_docstring(ast.parse((ROOT / f"reference/smap_reference/{program}.py").read_text(encoding="utf-8")))
    assert text is not None
    return text


def clauses_of(page: str) -> set[str]:
    return set(re.findall(r"^\\fB(\w+)\\fR \\fI", page, re.MULTILINE))


def test_the_page_is_what_the_docstring_says(program: str) -> None:
    committed = (ROOT / f"docs/man/{program}.8").read_text(encoding="ascii")
    assert committed == drawing().page(program), f"draw the pages again: python {DRAW}"


def test_roff_shows_every_word_of_the_docstring(program: str, rendered: str) -> None:
    body = rendered[rendered.index("NAME") : rendered.rindex("smaplab")]
    words = docstring_of(program).replace("`", "").replace("…", "...").split()
    assert body.replace("\N{HYPHEN}", "-").split() == words


def test_the_page_fits_a_terminal(rendered: str) -> None:
    assert max(len(line) for line in rendered.splitlines()) <= 80


def test_the_pages_name_every_clause_of_the_table() -> None:
    netperm = (ROOT / "reference/smap_reference/netperm.py").read_text(encoding="utf-8")
    known = set(re.findall(r'^    "(\w+)": _\w+,$', netperm, re.MULTILINE))
    named = [clauses_of((ROOT / f"docs/man/{program}.8").read_text(encoding="ascii")) for program in PROGRAMS]
    assert len(known) > 10
    assert set().union(*named) == known
