"""docs/log.md names every line that the programs write, with its fields and its severity."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from smap_reference import logline

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "reference" / "smap_reference"
PAGE = (ROOT / "docs" / "log.md").read_text(encoding="utf-8")
SEVERITIES = ("info", "warning", "error")
MODULES = {
    "smap": ["smap.py", "posix/receiving.py"],
    "smapd": ["smapd.py", "posix/delivering.py"],
    "both": ["posix/syslog.py"],
}

Line = tuple[str, str, str, tuple[str, ...]]  # event, program, severity, fields


# What the programs write


def fields_of(call: ast.Call, function: ast.FunctionDef) -> Iterator[str]:
    """The fields of a call of `line`, in order; a dict handed over by name was written in the same function."""
    dicts = {
        target.id: node.value
        for node in ast.walk(function)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for keyword in call.keywords:
        if keyword.arg is not None:
            yield keyword.arg
            continue
        value = dicts[keyword.value.id] if isinstance(keyword.value, ast.Name) else keyword.value
        assert isinstance(value, ast.Dict)
        yield from (str(ast.literal_eval(key)) for key in value.keys if key is not None)


def written_by(program: str) -> Iterator[Line]:
    for name in MODULES[program]:
        tree = ast.parse((REFERENCE / name).read_text(encoding="utf-8"))
        for function in ast.walk(tree):
            if not isinstance(function, ast.FunctionDef):
                continue
            for call in ast.walk(function):
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in SEVERITIES:
                    (said,) = call.args
                    severity = call.func.attr
                    if isinstance(said, ast.Call):
                        yield ast.literal_eval(said.args[0]), program, severity, tuple(fields_of(said, function))
                    else:
                        begin = said.values[0] if isinstance(said, ast.JoinedStr) else said
                        text = str(ast.literal_eval(begin))
                        of = "both" if text.startswith("refused to start:") else program
                        yield " ".join(text.split()[:3]), of, severity, ()


def described() -> list[Line]:
    rows = re.findall(r"^\| `([a-z: ]+)` \| (\w+) \| (\w+) \| ([a-z ]*?) ?\| ", PAGE, re.MULTILINE)
    return [(event, of, severity, tuple(fields.split())) for event, of, severity, fields in rows]


def test_the_page_has_every_line_with_its_fields() -> None:
    written = {line for program in MODULES for line in written_by(program)}
    assert len(written) > 10
    assert set(described()) == written
    assert len(described()) == len(set(described()))


def test_the_page_has_every_field() -> None:
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \|$", PAGE, re.MULTILINE)
    assert rows == sorted({field for *_, fields in described() for field in fields})


# The examples

EXAMPLES = [
    *re.findall(r"^(smapd?)\[\d+\]: (.*)$", PAGE, re.MULTILINE),
    *re.findall(r"^(smapd?)\[\d+\]: (.*)$", (ROOT / "docs" / "INSTALL.md").read_text(encoding="utf-8"), re.MULTILINE),
]


def parsed(example: str) -> tuple[str, dict[str, str]]:
    """A line as a reader of logs would take it apart, by nothing but what the page says."""
    event, *_ = example.split(" ", 1)
    found = re.findall(r' (\w+)=("[^"]*"|[^ "]+)', example)
    return event, {name: value.strip('"') for name, value in found}


@pytest.mark.parametrize(("program", "example"), EXAMPLES)
def test_an_example_is_a_line_as_the_programs_write_it(program: str, example: str) -> None:
    sentences = [event for event, _, _, fields in described() if " " in event and not fields]
    if example.startswith(tuple(sentences)):
        return
    event, fields = parsed(example)
    assert (event, program, tuple(fields)) in {(event, of, fields) for event, of, _, fields in described()}
    assert logline.line(event, **fields) == example


def test_each_line_has_an_example() -> None:
    shown = {(parsed(example)[0], program, tuple(parsed(example)[1])) for program, example in EXAMPLES}
    texts = tuple(example for _, example in EXAMPLES)
    for event, program, _, fields in described():
        if " " in event:
            assert [text for text in texts if text.startswith(event)], event
        else:
            assert (event, program, fields) in shown


def test_what_the_page_says_of_values_is_so() -> None:
    assert logline.printable(b'\x1b[31m"\\\xff' + b"a" * 200) == r"\x1b[31m\x22\x5c\xff" + "a" * 72
    assert logline.line("left", reason="", peer="a b") == 'left reason="" peer="a b"'
    many = logline.addresses([b"someone@example.com"] * 1000)
    assert many.endswith(",...")
    assert len(many) <= 450 + len("...")
    assert logline.address(b"<>") == "<>"
