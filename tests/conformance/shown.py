"""What tests of the report share: runs that are made up, and a page taken apart as a strict reader would."""

from __future__ import annotations

import html.parser
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from smap_conformance import catalogue, results
from smap_conformance.expect import Miss
from smap_conformance.failure import Failure, of
from smap_conformance.failure import text as told
from smap_conformance.known import Known
from smap_conformance.report.judged import Judged, named
from smap_conformance.verdict import CaseResult, Verdict
from smap_simulator import history
from smap_simulator.replay import replay

FAIL, PASS, MISSED, INFO = Verdict.FAIL, Verdict.PASS, Verdict.SHOULD_MISSED, Verdict.INFO
NOT_MEASURED, KNOWN, ERROR = Verdict.NOT_MEASURED, Verdict.KNOWN, Verdict.HARNESS_ERROR
INLINE = frozenset({"a", "code", "span", "strong", "script", "style"})
VOID = frozenset({"meta", "input", "br", "hr", "img", "link"})
HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=http://evil.example/x onerror=alert(1)>",
    "\" onmouseover=\"alert(1)' autofocus onfocus='alert(1)",
    "</style></details></pre></svg>]]>--><!--",
    "\x00\x07\x1b[31mred\x7f\x9b \u202egnirts\u2066 \u200bzero \ud800 lone",
    "{{ 7 * 7 }} {% raw %} &amp; &lt;",
    "x" * 30_000,
)


@cache
def crash(address: str = "one-message+mutant=no-fsync-of-the-mark/strict-posix:c19:0b0") -> tuple[str, str]:
    """A recorded history and the counterexample found in it, as a case leaves them."""
    found = replay(address)
    assert found.counterexample is not None
    return history.dump(found.history), found.counterexample.json()


def failing(
    case: str,
    rules: dict[str, Verdict],
    artefacts: dict[str, str] | None = None,
    *,
    words: tuple[str, str, str] = ("the spool", "one file of mode 755", "none"),
) -> CaseResult:
    """A case that failed, told as the suite tells it."""
    every = catalogue.rules()
    again = f"smaplab run --case '{case}'"
    found: Failure = of(Miss(*words), rules, again)
    detail = told([every[name] for name in rules if name in every], case, found, (), artefacts or {})
    line = f"{words[0]}: expected {words[1]}; got {words[2]}"
    return CaseResult(case, rules, line, detail, artefacts=artefacts or {}, failure=found)


DIALOGUE = "\n".join(
    ["< 220 fw ready\\r\\n", "> DATA\\r\\n", "< 354 go\\r\\n", *["> line\\r\\n"] * 9, "> .\\r\\n", "< 451 no\\r\\n"]
)
SPOOL = "m1 644 412 bytes fcntl+flock sha256 39fd15888172\nodd name directory 700 40 bytes unlocked sha256 -"


def first() -> results.Run:
    """An implementation with a verdict of every kind."""
    recorded, counterexample = crash()
    cases = (
        CaseResult("sanity::test_one", {"GATHER-01": PASS}),
        failing(
            "crash_power::test_what_was_said_is_so[strict-posix]",
            {"CRASH-02": FAIL, "CRASH-03": MISSED},
            {"history.jsonl": recorded, "counterexample.json": counterexample, "spool": SPOOL, "baddir": "(empty)"},
        ),
        failing("gather::test_mode[umask 077]", {"GATHER-03": FAIL}, {"dialogue": DIALOGUE, "log": "<22>a line"}),
        *(failing(f"smtp_data::test_ends[{number}]", {"SMTP-05": FAIL}) for number in range(9)),
        failing("smtp_data::test_ends(8)", {"SMTP-05": FAIL}),  # as a directory it has the name of another
        failing("scan::test_oddities", {"SCAN-11": MISSED}),
        failing("bad::test_gone", {"BAD-04": KNOWN}),
        CaseResult("cfg::test_note", {"CFG-09": INFO}, "refuses", notes={"CFG-09": "refuses"}),
        CaseResult("priv::test_jail", {"PRIV-01": NOT_MEASURED}, "no root here"),
        CaseResult("priv_jail::test_x", {"PRIV-07": ERROR}, "ValueError: no", "Traceback: no"),
        CaseResult("ops::test_y", {"OPS-01": PASS}, tally={"crash points": 7, "faults fired": 2}),
    )
    known = (
        Known("BAD-04", "copies across devices", "none", "https://issues.example/7"),
        Known("OPS-01", "was slow", "late"),
    )
    about = results.About(version="0.3", language="C", environment={"kernel": "6.1", "means": {"root": True}})
    return results.Run("first", cases, asked=tuple(catalogue.rules()), known=known, about=about)


def second() -> results.Run:
    """An implementation that keeps what it was asked for."""
    return results.Run("second", (CaseResult("sanity::test_one", {"GATHER-01": PASS, "GATHER-03": PASS}),))


def hostile() -> results.Run:
    """A target that writes into everything it can reach what could break a page."""
    cases = [
        failing(
            f"bad::test_hostile[{number}{text[:40]}]",
            {"BAD-02": FAIL},
            {
                "dialogue": f"< 220 {text}\n> QUIT {text}\n! {text}", "log": text, "spool": text, text[:50]: text,
                "history.jsonl": text, "counterexample.json": text,
            },
            words=(text, text, text),
        )
        for number, text in enumerate(HOSTILE)
    ]  # fmt: skip
    notes = {"CFG-09": HOSTILE[0]}
    cases.append(
        CaseResult(f"cfg::test_{HOSTILE[1]}", {"CFG-09": INFO}, HOSTILE[1], notes=notes, tally={HOSTILE[2]: 1})
    )
    cases.append(CaseResult("gone::test_rule", {f"NO-{HOSTILE[3]}": NOT_MEASURED}, HOSTILE[4]))
    about = results.About(version=HOSTILE[2], environment={HOSTILE[0]: {HOSTILE[1]: HOSTILE[3]}}, only=HOSTILE[0])
    return results.Run(HOSTILE[0], tuple(cases), (HOSTILE[1],), (), (), (), about)


def judged(*runs: results.Run) -> list[Judged]:
    """As `smaplab report` gives them to the page."""
    return named((Path(f"/reports/{number}"), run) for number, run in enumerate(runs, 1))


@dataclass
class Element:
    """An element with what is in it."""

    tag: str
    attributes: dict[str, str]
    text: list[str] = field(default_factory=list)
    inner: list[Element] = field(default_factory=list)

    def all(self, tag: str = "", look: str = "") -> list[Element]:
        """Those below with this tag and this class."""
        found = []
        for each in self.inner:
            if tag in ("", each.tag) and (not look or look in each.attributes.get("class", "").split()):
                found.append(each)
            found += each.all(tag, look)
        return found

    def by_id(self, name: str) -> Element:
        """The one with this id."""
        (found,) = (each for each in self.all() if each.attributes.get("id") == name)
        return found

    @property
    def words(self) -> str:
        """All text in it, in order, blanks folded."""
        return " ".join("".join(self.text).split())


class Reader(html.parser.HTMLParser):
    """Reads a page that closes what it opens, in order; anything else is an AssertionError."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.root = Element("", {})
        self._open = [self.root]
        self.feed(page)
        self.close()
        assert len(self._open) == 1, f"left open: {[each.tag for each in self._open[1:]]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice: {names}"
        if tag not in INLINE:
            self.handle_data(" ")
        element = Element(tag, {name: value or "" for name, value in attrs})
        self._open[-1].inner.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        raise AssertionError(f"<{tag}/>: only XML knows that")

    def handle_endtag(self, tag: str) -> None:
        assert self._open[-1].tag == tag, f"</{tag}> where <{self._open[-1].tag}> is open, at {self.getpos()}"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text.append(data)
