"""The HTML report: all is in it, it is whole, nothing that a target wrote does anything, and it works in a browser."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from browser import Browser, browser
from judged import judge, program
from shown import HOSTILE, Element, Reader, crash, first, hostile, judged, second
from smap_conformance import catalogue, report
from smap_conformance.report import cards, lanes, markdown, page
from smap_conformance.report.visible import visible
from smap_simulator import history
from smap_simulator.replay import replay

NOTHING = Path("/nowhere/kill_matrix.json")


def reading(*runs: object, kill_matrix: Path = NOTHING) -> Element:
    return Reader(page.render(judged(*runs), kill_matrix)).root  # type: ignore[arg-type]


# What is in it


def test_each_rule_that_is_not_kept_has_a_card_with_a_line_that_runs_it_again() -> None:
    root = reading(first(), second())
    for rule in ("CRASH-02", "CRASH-03", "GATHER-03", "SMTP-05", "SCAN-11", "BAD-04"):
        group = root.by_id(f"broken-{rule}")
        said = catalogue.rules()[rule]
        assert said.sentence in group.words
        assert " ".join(said.why.split()) in group.words
        for card in group.all("details", "case"):
            assert [line for line in card.all("div", "again") if "smaplab run --case " in line.words], card.words
    assert len(root.by_id("broken-SMTP-05").all("details", "case")) == 10
    other = root.by_id("broken-CRASH-03")  # the case stands in full under CRASH-02, of which it says another thing
    assert [each.words for each in other.all("span", "badge")] == ["Sshould-missed", "Sshould-missed"]
    assert "harness error" in root.by_id("broken-PRIV-07").words
    assert "Traceback: no" in root.by_id("broken-PRIV-07").words


def test_the_headline_says_the_verdict_and_the_counts() -> None:
    one, two = reading(first(), second()).all("section", "headline")
    assert one.all("h1")[0].words == "first 0.3"
    assert one.all("p", "conclusion")[0].words == "harness error in 1 rule: this run proves nothing"
    assert "7 crash points · 2 faults fired" in one.words
    assert "1 case not measured" in one.words
    assert two.all("p", "conclusion")[0].words == "the chosen cases broke no rule"


def test_the_matrix_has_a_row_for_each_rule_and_a_letter_for_each_implementation() -> None:
    root = reading(first(), second())
    for rule in catalogue.rules():
        row = root.by_id(f"rule-{rule}")
        letters = [cell.all("span", "badge")[0].words for cell in row.all("td", "verdict")]
        assert len(letters) == 2
        if rule == "GATHER-03":
            assert letters == ["FFAIL", "Ppass"]  # the letter that is seen, and the word that is read aloud
    assert root.by_id("rule-PRIV-01").all("td", "verdict")[1].words.endswith("·not judged")
    headings = [each.words for each in root.by_id("matrix").all("th") if each.attributes.get("scope") == "rowgroup"]
    assert headings == [f"{name} {title}" for name, title in catalogue.chapters().items()]


def test_what_is_known_what_was_not_measured_and_where_it_ran_are_told() -> None:
    root = reading(first())
    known = root.by_id("known").words
    assert "BAD-04 copies across devices https://issues.example/7 none known" in known
    assert "OPS-01 was slow late unexpected pass" in known
    assert "1 case no root here priv::test_jail" in root.by_id("unmeasured").words
    environment = root.by_id("environment").words
    assert "kernel 6.1" in environment
    assert "means root True" in environment
    assert "rules asked for all, level all" in environment


def test_the_kill_matrix_is_shown_where_there_is_one(tmp_path: Path) -> None:
    file = tmp_path / "kill_matrix.json"
    kill = {"rule": "GATHER-07", "case": "gather_mark::test_x"}
    rows = [
        {"mutant": "early", "module": "smap", "why": "answers <b>early</b>", "kills": [kill], "lives": [],
         "also": {"CRASH-02": "the same"}, "unrelated": []},
        {"mutant": "ghost", "module": "smap", "why": "nothing", "kills": [], "lives": ["BAD-01"], "also": {},
         "unrelated": None},
        {"mutant": "loud", "module": "smap", "why": "too much", "kills": [kill], "lives": [], "also": {},
         "unrelated": ["OPS-01", "GONE-01"]},
    ]  # fmt: skip
    file.write_text(json.dumps({"schema": 1, "mutants": rows}), encoding="utf-8")
    teeth = reading(second(), kill_matrix=file).by_id("teeth").words
    assert "3 mutants: the reference with one thing broken each; 1 survived" in teeth
    assert "early answers <b>early</b> GATHER-07 CRASH-02 all kept" in teeth
    assert "ghost nothing survives BAD-01 not asked" in teeth
    assert "loud too much GATHER-07 OPS-01, GONE-01" in teeth
    assert not [each for each in reading(second()).all("section") if each.attributes.get("id") == "teeth"]


# The time line


def test_a_history_is_drawn_up_to_its_cut_and_what_that_left() -> None:
    recorded, counterexample = crash()
    drawn, trouble = cards.draw({"history.jsonl": recorded, "dialogue": "> no\\r\\n"}, json.loads(counterexample))
    assert drawn is not None
    assert trouble == ""
    strip = drawn.strip
    assert strip.lanes == ("client", "smap", "A")
    told = {row.text: row for row in strip.rows}
    assert told["chmod A 755"].durable == "NO"
    assert [row.text for row in strip.rows if row.durable in ("NO", "part")] == ["chmod A 755"]
    assert told["250 Message taken"].kind == "promise"
    assert [row.kind for row in strip.rows[-3:]] == ["promise", "cut", "left"]
    assert strip.rows[-1].text == "A is 644, 193 B"
    first_write = next(row for row in strip.rows if row.text.startswith("write A"))
    state = first_write.files["A"]
    assert (state.mode, state.flock, state.fcntl, state.settled) == (0o644, True, True, False)
    assert not strip.rows[-3].files["A"].settled  # what was wrong: the promise, and the mark not durable
    assert drawn.picture.count('class="band partial"') >= 2
    assert drawn.picture.count('class="cross"') == 1
    assert drawn.picture.count("locked") >= 2


def test_what_was_made_durable_is_drawn_as_settled() -> None:
    rows = lanes.of_history(replay("one-message").history).rows
    promise = next(row for row in rows if row.kind == "promise")
    assert promise.files["A"].settled
    before = next(row for row in rows if row.text == "chmod A 755")
    assert not before.files["A"].settled
    kinds = {row.kind for row in rows}
    assert {"mailer", "barrier", "lock", "operation", "reply"} <= kinds
    assert rows[-1].files == {}  # delivered: no file is left


def inode(recorded: history.History) -> int:
    return next(event.inode for event in recorded.events if isinstance(event, history.Create))


def test_a_fault_and_a_kill_are_drawn_as_such() -> None:
    start = history.parse(crash()[0])
    events = (*start.events[:9], history.Failed(1, "smap", "fsync", 5, inode(start), injected=True))
    killed = history.History(start.start, (*events, history.Exit(1, "smap", -9)))
    rows = lanes.of_history(killed).rows
    assert [(row.kind, row.text) for row in rows[-2:]] == [
        ("fault", "fsync fails: EIO (injected)"), ("killed", "killed by SIGKILL")
    ]  # fmt: skip


def test_a_long_history_keeps_its_beginning_and_its_end() -> None:
    start = history.parse(crash()[0])
    locks = [history.Lock(1, "smap", inode(start), "flock", True) for _ in range(500)]
    strip = lanes.of_history(history.History(start.start, (*start.events[:5], *locks, start.events[18])))
    assert len(strip.rows) == lanes.ROWS_MAX
    assert strip.rows[0].text.startswith("220")
    assert strip.rows[-1].kind == "promise"
    assert "rows left out" in " ".join(row.text for row in strip.rows)


def test_a_dialogue_is_drawn_where_nothing_else_was_recorded() -> None:
    root = reading(first())
    figure = root.by_id("broken-GATHER-03").all("figure")[0]
    rows = [(each.attributes["class"], each.words) for each in figure.all("li")]
    assert rows[0] == ("reply", "220 fw ready")
    assert ("sent", "client: … 7 more lines") in rows
    assert rows[-1] == ("refusal", "451 no")
    assert len(figure.all("svg")) == 1


def test_a_recording_that_cannot_be_read_is_said_to_be_so() -> None:
    drawn, trouble = cards.draw({"history.jsonl": "{}", "dialogue": "> QUIT\\r\\n"}, None)
    assert trouble.startswith("the recording cannot be drawn: history.jsonl line 1: ")
    assert drawn is not None
    assert [row.text for row in drawn.strip.rows] == ["QUIT"]


def test_directories_are_tables() -> None:
    table = reading(first()).by_id("broken-CRASH-02").all("table", "files")[0]
    rows = [[each.words for each in row.inner] for row in table.all("tr")]
    assert rows[1] == ["m1", "644", "412", "fcntl+flock", "39fd15888172"]
    assert rows[2] == ["odd name directory", "700", "40", "unlocked", "-"]


# Whole, alone, and harmless


@pytest.mark.parametrize("runs", [(first,), (first, second), (hostile,), (second,), (hostile, hostile)])
def test_the_page_is_whole_and_fetches_nothing(runs: tuple[Callable[[], object], ...]) -> None:
    text = page.render(judged(*(make() for make in runs)))  # type: ignore[arg-type]
    assert text.startswith("<!doctype html>\n")
    root = Reader(text).root
    ids = [each.attributes["id"] for each in root.all() if "id" in each.attributes]
    assert len(ids) == len(set(ids)), "each id once"
    for each in root.all():
        assert not {"src", "srcset", "action", "data", "style"} & set(each.attributes), each
        assert not [name for name in each.attributes if name.startswith("on")], each
        if "href" in each.attributes:
            assert each.attributes["href"].startswith("#"), each
            assert each.attributes["href"][1:] in ids, each
    assert {each.tag for each in root.all()} & {"img", "link", "iframe", "object", "base", "use", "image"} == set()
    (style,), (script,) = root.all("style"), root.all("script")
    assert "url(" not in style.words
    assert "@import" not in style.words
    for tag, element in (("style", style), ("script", script)):
        digest = base64.b64encode(hashlib.sha256("".join(element.text).encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy(root)
    assert policy(root).startswith("default-src 'none'; ")


def policy(root: Element) -> str:
    metas = [each.attributes for each in root.all("meta")]
    (found,) = (each["content"] for each in metas if each.get("http-equiv") == "Content-Security-Policy")
    return found


def test_what_a_target_wrote_is_shown_and_does_nothing() -> None:
    text = page.render(judged(hostile()))
    root = Reader(text).root
    shown = " ".join(root.words.split())
    for each in HOSTILE[:-1]:
        assert " ".join(visible(each).split()) in shown
    assert "x" * 500 in shown
    assert "x" * 5000 not in shown  # a page is no place for 30 000 characters
    assert re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text) is None
    assert len(text.encode()) < 2_000_000


def test_visible_leaves_ordinary_text_alone() -> None:
    assert visible("a b\tc\nd é ß 漢 😀") == "a b\tc\nd é ß 漢 😀"
    assert visible("\x00\r\x7f\x9b\u202e\ud800") == "\\x00\\x0d\\x7f\\x9b\\u202e\\ud800"


def test_the_same_runs_give_the_same_page() -> None:
    assert page.render(judged(first(), second())) == page.render(judged(first(), second()))


def test_markdown_has_the_matrix_and_lets_nothing_through() -> None:
    text = markdown.render(judged(first(), second()))
    assert "| rule | level | first 0.3 | second |" in text
    assert "| CRASH-02 | MUST | FAIL | not judged |" in text
    assert "      smaplab run --case 'gather::test_mode[umask 077]'" in text
    assert "and 0 more" not in text
    harmful = markdown.render(judged(hostile()))
    outside = [line for line in harmful.splitlines() if not line.startswith("      ")]
    assert not [line for line in outside if re.search(r"(?<!\\)[<>`]", line)]


# The command


def test_a_run_leaves_its_page_and_a_report_sets_runs_side_by_side(tmp_path: Path, root: None) -> None:
    one = judge(tmp_path, "--case", "sanity::test_a_mail_goes_in_and_comes_out_unchanged")
    assert one.status == 0, one.text
    assert "the chosen cases broke no rule" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    other = tmp_path / "other"
    report.write(first(), catalogue.rules(), other)
    html, md = tmp_path / "both.html", tmp_path / "both.md"
    words = ["report", "report", "other", "--html", str(html), "--markdown", str(md)]
    run = subprocess.run([program(), *words], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert len(Reader(html.read_text(encoding="utf-8")).root.all("section", "headline")) == 2
    assert "first 0.3" in md.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "no results.json there"),
        ("[1]", "results.json"),
        ("{", "results.json: no JSON"),
        ('{"schema": 1}', "schema 1 is not"),
        ('{"schema": 2, "cases": [3]}', "results.json"),
    ],
)
def test_a_directory_without_results_gets_one_line_and_status_2(
    tmp_path: Path, content: str | None, complaint: str
) -> None:
    if content is not None:
        (tmp_path / "results.json").write_text(content, encoding="utf-8")
    words = [program(), "report", str(tmp_path), "--html", "page.html"]
    run = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith("smaplab: ")
    assert complaint in run.stderr
    assert run.stderr.count("\n") == 1
    assert not (tmp_path / "page.html").exists()


# In a browser


@pytest.mark.parametrize("width", [1280, 360])
def test_it_works_in_a_browser(tmp_path: Path, needs: Callable[..., str], width: int) -> None:
    chromium = needs("chromium", package="chromium")
    driver = needs("chromedriver", package="chromium-driver")
    file = tmp_path / "page.html"
    file.write_text(page.render(judged(first(), second(), hostile())), encoding="utf-8")
    with browser(driver, chromium, tmp_path / "profile", width=width) as window:
        window.open(file)
        assert window.run("return document.title").endswith("against the rules of smap")
        expect_filters(window)
        expect_a_card_opens(window)
        expect_no_sideways_scrolling(window, width)
        assert window.complaints() == []


SHOWN = "return [...document.querySelectorAll(arguments[0])].filter(e => e.checkVisibility()).length"


def expect_filters(window: Browser) -> None:
    every = len(catalogue.rules())
    assert window.run(SHOWN, "tr.rule") >= every
    window.type("input[name=text]", "umask 077")
    assert window.run(SHOWN, ".group") == 1
    assert window.run("return document.querySelector('output[name=found]').value") == "0 rules, 1 case"
    window.click("button[name=clear]")
    settled = "return document.querySelector('output[name=found]').value"
    assert window.run(settled) == ""
    assert window.run(SHOWN, "tr.rule") >= every
    window.click("select[name=level] option:nth-child(3)")
    should = sum(rule.level.value == "SHOULD" for rule in catalogue.rules().values())
    assert window.run(SHOWN, "tr.rule") == should
    window.click("select[name=look] option[value=should_missed]")
    assert window.run(SHOWN, "tr.rule") == 2  # CRASH-03 and SCAN-11
    assert window.run(SHOWN, "#broken-SCAN-11 .case") == 1
    assert window.run(SHOWN, "#broken-CRASH-02 .case") == 0
    window.click("button[name=clear]")
    window.click("select[name=chapter] option[value=CRASH]")
    crashes = sum(rule.chapter == "CRASH" for rule in catalogue.rules().values())
    assert window.run(SHOWN, "tr.rule") == crashes
    window.click("button[name=clear]")
    assert window.run(SHOWN, "tr.rule") >= every


def expect_a_card_opens(window: Browser) -> None:
    inside = "#broken-CRASH-02 .case .inside"
    assert window.run(SHOWN, inside) == 0
    window.click("#broken-CRASH-02 .case > summary")
    assert window.run(SHOWN, inside) == 1
    wide = "return document.querySelector('#broken-CRASH-02 svg.strip line.cut').getBoundingClientRect().width"
    assert window.run(wide) > 100  # the cut goes across all lanes
    window.click("#broken-CRASH-02 .copy")
    window.click("#broken-CRASH-02 .case > summary")
    assert window.run(SHOWN, inside) == 0
    window.click("a.badge[href='#rule-SCAN-11']")
    assert window.run("return document.querySelector('#rule-SCAN-11 details').open")
    beside = "return document.querySelector('#rule-SCAN-11').getBoundingClientRect().top"
    assert 0 <= window.run(beside) < window.run("return innerHeight")


def expect_no_sideways_scrolling(window: Browser, width: int) -> None:
    """Not even with everything open, the lines of 30 000 characters included."""
    window.run("for (const one of document.querySelectorAll('details')) one.open = true")
    assert window.run("return innerWidth") <= width
    assert window.run("return document.documentElement.scrollWidth <= innerWidth")
    overhanging = (
        "return [...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1"
        " && !e.closest('.wide, pre, .rows, .aside')).map(e => e.outerHTML.slice(0, 200))"
    )
    assert window.run(overhanging) == []
