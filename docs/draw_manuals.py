"""Draw the manual pages docs/man/smap.8 and smapd.8 from the modules' docstrings: `python docs/draw_manuals.py`.

What a docstring says by its shape, and nothing else has a meaning:

    HEADING                  a section: capitals at the left margin
        text                 a paragraph, filled; an empty line ends it
        tag NAME    text     a term and its text: two blanks or more between them, and the text goes on under itself
            text             shown as it stands: indented once more

In paragraphs `this` and name(8) are set in bold; so is a tag, but for its WORDS IN CAPITALS, which stand for a value.
"""

import ast
import re
import textwrap
from collections.abc import Iterator
from itertools import chain, groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "reference" / "smap_reference"
PAGES = ROOT / "docs" / "man"
PROGRAMS = ("smap", "smapd")

_INDENT = 4
_TERM = re.compile(r"(?P<tag>\S+(?: \S+)*) {2,}(?P<text>\S.*)")
_EMPHASIS = re.compile(r"`([^`]+)`|\b([a-z0-9]+)(?=\(\d\))")
_LINE = textwrap.TextWrapper(78, break_long_words=False, break_on_hyphens=False)


def page(program: str) -> str:
    """The manual page of a program, in the man(7) macros."""
    docstring = ast.get_docstring(ast.parse((REFERENCE / f"{program}.py").read_text(encoding="utf-8")))
    assert docstring is not None
    out = [
        f'.\\" Drawn from reference/smap_reference/{program}.py by docs/draw_manuals.py: change that, and draw again.',
        f'.TH {program.upper()} 8 "" smaplab "Mail on a firewall"',
        ".nr HY 0",  # no word is cut: clauses and paths are searched for
        ".ad l",
    ]
    for heading, lines in _sections(docstring):
        out.append(f".SH {_quoted(heading)}")
        out += _name(lines) if heading == "NAME" else _body(lines)
    return "\n".join(out) + "\n"


def _sections(docstring: str) -> Iterator[tuple[str, list[str]]]:
    """Each heading with its lines, the section's indentation taken off."""
    heading, lines = "", list[str]()
    for line in docstring.splitlines():
        if line and not line.startswith(" "):
            if heading:
                yield heading, lines
            heading, lines = line, []
        else:
            lines.append(line[_INDENT:])
    yield heading, lines


def _name(lines: list[str]) -> list[str]:
    """What whatis(1) and apropos(1) read: no macros, and a dash of a kind."""
    name, _, purpose = lines[0].partition(" - ")
    return [f"{_plain(name)} \\- {_plain(purpose)}"]


def _body(lines: list[str]) -> Iterator[str]:
    blocks = [_drawn(list(block)) for has_text, block in groupby(lines, bool) if has_text]
    if blocks and blocks[0][0] == ".PP":
        blocks[0].pop(0)  # .SH begins the first paragraph
    return chain.from_iterable(blocks)


def _drawn(block: list[str]) -> list[str]:
    """Lines between two empty ones: terms, lines that are shown as they stand, or a paragraph."""
    if block[0].startswith(" " * _INDENT):
        return [".PP", ".RS", ".EX", *(_guarded(_plain(line[_INDENT:])) for line in block), ".EE", ".RE"]
    if _TERM.fullmatch(block[0]):
        return list(chain.from_iterable(_terms(block)))
    assert not any(line.startswith(" ") for line in block), f"what does this indentation mean? {block}"
    return [".PP", *_filled(block)]


def _terms(block: list[str]) -> Iterator[list[str]]:
    """Each term with its text."""
    while block:
        found = _TERM.fullmatch(block.pop(0))
        assert found is not None, "a term is followed by its text, indented under itself, or by the next term"
        text_at = found.start("text")
        text = [found["text"]]
        while block and block[0].startswith(" " * text_at):
            text.append(block.pop(0))
        yield [f".TP {text_at}n", _tag(found["tag"]), *_filled(text)]


def _filled(lines: list[str]) -> list[str]:
    """Running text, each sentence on lines of its own, so that roff knows where it ends."""
    text = " ".join(line.strip() for line in lines)
    sentences = re.split(r"(?<=[A-Za-z0-9)`]\.) (?=[A-Z0-9`])", text)
    return [_guarded(line) for sentence in sentences for line in _LINE.wrap(_set(sentence))]


def _tag(tag: str) -> str:
    words = [rf"\fI{_plain(word)}\fR" if word.isupper() else rf"\fB{_plain(word)}\fR" for word in tag.split()]
    return " ".join(words)


def _set(text: str) -> str:
    """Text with its emphasis."""
    plain, *rest = _EMPHASIS.split(text)
    out = [_plain(plain)]
    for code, name, after in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
        out += [rf"\fB{_plain(code or name)}\fR", _plain(after)]
    return "".join(out)


def _guarded(line: str) -> str:
    """A line that roff does not take for one of its own."""
    return rf"\&{line}" if line.startswith((".", "'")) else line


def _plain(text: str) -> str:
    """Text that roff prints as it is written."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq").replace("`", r"\(ga")
    return escaped.replace("^", r"\(ha").replace("~", r"\(ti").replace("…", r"\&...").replace('"', r"\(dq")


def _quoted(text: str) -> str:
    return f'"{text}"' if " " in text else text


def main() -> None:
    PAGES.mkdir(exist_ok=True)
    for program in PROGRAMS:
        (PAGES / f"{program}.8").write_text(page(program), encoding="ascii")


if __name__ == "__main__":
    main()
