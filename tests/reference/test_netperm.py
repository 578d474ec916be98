"""netperm-table: what is written is what is meant, or one line says what is wrong with it."""

import io
from contextlib import redirect_stdout

import broken_tables
import pytest
from broken_tables import BROKEN, CLAUSES, GOOD, NUMBERS, OBEYED, TABLE, Broken, complaint
from hypothesis import example, given
from hypothesis import strategies as st
from smap_reference import netperm
from smap_reference.netperm import Settings, TableError, parse

ATTRIBUTES = {
    "userid": "userid",
    "directory": "directory",
    "maxbytes": "message_bytes_max",
    "maxrecip": "recipients_max",
    "timeout": "timeout_s",
    "sessions": "sessions_max",
    "executable": "executable",
    "sendmail": "sendmail",
    "baddir": "baddir",
    "wakeup": "wakeup_s",
    "deliveries": "deliveries_max",
    "mailertime": "mailer_s_max",
}
WORDS = st.text("abc-_./:,#*@\u2603\u00e9", min_size=1, max_size=12)
PATHS = WORDS.map(lambda word: f"/{word}")
ARGUMENTS = WORDS.filter(lambda word: not word.startswith("#"))  # that would be a comment, and is complained of
NUMBER = st.integers(1, 2**63 - 1) | st.integers(1, 5)
VALUES: dict[str, st.SearchStrategy[object]] = {
    "userid": WORDS.filter(lambda word: not word.startswith("-")) | st.integers(0, 2**32 - 2),
    "sendmail": st.tuples(PATHS, st.lists(ARGUMENTS, max_size=3)).map(lambda mailer: [mailer[0], *mailer[1]]),
    **dict.fromkeys(("directory", "executable", "baddir"), PATHS.map(lambda path: path.rstrip("/") or "/")),
    **dict.fromkeys(NUMBERS, NUMBER),
}
MEANT = st.fixed_dictionaries(
    {clause: VALUES[clause] for clause in ("directory", "executable")},
    optional={clause: values for clause, values in VALUES.items() if clause not in ("directory", "executable")},
)
BLANKS = st.text(" \t", max_size=3)
BLANK = st.text(" \t", min_size=1, max_size=3)
IGNORED = st.sampled_from([
    "", "  ", "# smap: maxbytes 1", "\t#x", "tn-gw: timeout x", "tn-gw, ftp-gw: permit-hosts *", "smapp: timeout -1",
    "*: permit-hosts 10.0.0.* -deny", "no colon at all", "http-gw userid x", ": timeout 1",
    "SMAP: timeout 0", ",: wakeup",
])  # fmt: skip


@st.composite
def tables(draw: st.DrawFn) -> tuple[str, str, dict[str, object]]:
    """A table, the program that reads it, and what it means by it."""
    program = draw(st.sampled_from(["smap", "smapd"]))
    meant = draw(MEANT)
    lines = []
    for clause, value in meant.items():
        words = value if isinstance(value, list) else [str(value)]
        for _ in range(draw(st.sampled_from([1, 1, 2]))):  # the same thing twice is no contradiction
            names = draw(st.permutations([draw(st.sampled_from([program, "*"])), *draw(st.lists(OTHERS, max_size=2))]))
            applications = ",".join(f"{draw(BLANKS)}{name}{draw(BLANKS)}" for name in names)
            text = f"{applications}:{draw(BLANKS)}{clause}{draw(BLANK)}{draw(BLANK).join(words)}{draw(BLANKS)}"
            lines.append(text + draw(st.sampled_from(["", "\r"])))
    lines += draw(st.lists(IGNORED, max_size=6))
    return "\n".join(draw(st.permutations(lines))), program, meant


OTHERS = st.sampled_from(["tn-gw", "ftp-gw", "netacl-in.telnetd", "smap", "smapd"])
DEFAULTS: dict[str, object] = {
    "sessions": 100,
    "sendmail": ["/usr/sbin/sendmail"],
    "wakeup": 60,
    "deliveries": 10,
    "mailertime": 3600,
}


@given(tables())
def test_what_is_written_is_what_is_meant(table: tuple[str, str, dict[str, object]]) -> None:
    text, program, meant = table
    settings = parse(text, TABLE, program)
    for clause, attribute in ATTRIBUTES.items():
        wanted = meant.get(clause, DEFAULTS.get(clause))
        if clause == "userid" and wanted is not None:
            wanted = str(int(str(wanted))) if str(wanted).isdigit() else wanted
        if clause == "executable" and program == "smap":
            wanted = ""
        assert getattr(settings, attribute) == wanted, clause


def test_each_clause_is_known_here() -> None:
    assert sorted(ATTRIBUTES) == sorted(VALUES) == CLAUSES == sorted(netperm._CLAUSES)
    assert all(any(name.startswith(clause) for name in BROKEN) for clause in CLAUSES)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_table(name: str) -> None:
    broken = BROKEN[name]
    assert complaint(broken) == broken.complaint
    assert all(char >= " " for char in broken.complaint)


def test_the_table_of_broken_tables_prints_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    with redirect_stdout(io.StringIO()) as out:
        assert broken_tables.main() == 0
    assert out.getvalue().count("\n") == 2 * len(BROKEN)
    monkeypatch.setitem(BROKEN, "none at all", Broken(GOOD, "smap", "wrong"))
    with redirect_stdout(io.StringIO()) as out:
        assert broken_tables.main() == 1
    assert "smap: obeyed" in out.getvalue()


TEXTS = st.lists(
    st.sampled_from(
        ["smap", "smapd", "*", ":", ",", "#", " ", "\t", "\n", "\r\n", "\0", "0", "1" * 25, "/x", "-", *CLAUSES]
    )
    | st.text(max_size=4),
    max_size=30,
).map("".join)


@given(TEXTS | TEXTS.map(GOOD.__add__) | st.binary(max_size=60).map(lambda raw: raw.decode("utf-8", "surrogateescape")))
@example("*: userid " + "9" * 5000)
@example("smap: userid " + "0" * 5000)
def test_any_text_is_settings_or_a_complaint(text: str) -> None:
    for program in ("smap", "smapd"):
        said = complaint(Broken(text, program, ""))
        if said != OBEYED:
            assert said.startswith(TABLE)
            assert not set(said) & set("\0\r\n\x1b\x7f")
            continue
        settings = parse(text, TABLE, program)
        assert settings.directory.startswith("/")
        assert settings.sendmail[0].startswith("/")
        numbers = [getattr(settings, ATTRIBUTES[clause]) for clause in NUMBERS]
        assert all(number is None or 1 <= number < 2**63 for number in numbers)


def settings(text: str, program: str = "smap") -> Settings:
    return parse(GOOD + text, TABLE, program)


def test_numbers_with_zeros_in_front_are_the_same_numbers() -> None:
    assert settings(f"smap: timeout 0007\nsmap: timeout 7\nsmap: maxbytes {'0' * 5000}1").timeout_s == 7
    assert parse("*: directory /\n*: userid 007\n*: userid 7", TABLE, "smap").userid == "7"
    assert parse("*: directory /\n*: userid 000", TABLE, "smap").userid == "0"


@pytest.mark.parametrize("path", ["/", "//", "/x/", "/x//"])
def test_slashes_at_the_end_mean_nothing(path: str) -> None:
    assert settings(f"smapd: baddir {path}", "smapd").baddir == (path.rstrip("/") or "/")


def test_a_star_may_speak_of_what_is_not_ours_and_we_may_not() -> None:
    assert settings("*: permit-hosts 10.*\n*: timeout 5").timeout_s == 5
    with pytest.raises(TableError, match="permit-hosts: unknown clause"):
        settings("*, smap: permit-hosts 10.*")


def test_the_lines_of_others_are_not_looked_at() -> None:
    assert settings("tn-gw: timeout x\0\nsmapd: timeout x\nnothing here\nsmapd userid uucp").timeout_s is None


def test_a_complaint_from_outside_names_the_line_or_the_lack_of_one() -> None:
    obeyed = settings("smapd: sendmail  /usr/sbin/exim   -i\n", "smapd")
    assert str(obeyed.complaint("sendmail", "not there")) == f"{TABLE} line 4: sendmail /usr/sbin/exim -i: not there"
    assert str(obeyed.complaint("userid", "no such user")) == f"{TABLE} line 1: userid uucp: no such user"
    assert str(obeyed.complaint("baddir", "name one")) == f"{TABLE}: no line `smapd: baddir …`: name one"
