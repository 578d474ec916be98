"""A history that can have happened is read; of any other, one line says where and what to mend."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from history_script import script
from smap_simulator import soundness
from smap_simulator.address import SCENARIOS, Address
from smap_simulator.crash import live
from smap_simulator.history import History, HistoryError, Message, Spawn, dump
from smap_simulator.image import FILE, Node
from smap_simulator.programs import load
from smap_simulator.world import run

STORY = "creat m; write m 10; chmod m; link m n; rename m bad/m; reply one; unlink n; mkdir d; fsync bad/m"


def story() -> History:
    return replace(script(STORY), messages=(Message("one", "s@a", ("r@b",), b"x\r\n"),))


def lines_of(history: History) -> list[dict[str, object]]:
    return [json.loads(line) for line in dump(history).splitlines()]


def complaint(lines: list[dict[str, object]], directory: Path) -> str:
    file = directory / "h.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="ascii")
    with pytest.raises(HistoryError) as caught:
        soundness.load(file)
    (text,) = str(caught.value).splitlines()
    return text.removeprefix(f"{file} ")


def test_what_happened_is_sound(tmp_path: Path) -> None:
    file = tmp_path / "h.jsonl"
    file.write_text(dump(story()), encoding="ascii")
    assert soundness.load(file) == story()


@pytest.mark.parametrize("name", sorted(name for name in SCENARIOS if "after" not in name))
def test_every_simulated_run_is_sound(name: str) -> None:
    soundness.examine(Address(name).play(load()).history)


def test_a_recovery_is_sound() -> None:
    finished = Address("two-smapd").play(load())
    again = run(replace(SCENARIOS["two-smapd"], clients=(), start=finished.image, messages=()), load())
    soundness.examine(again.history)


@pytest.mark.parametrize(
    ("line", "changes", "told"),
    [
        (2, {"directory": 77}, "Create: there is no directory 77; add it to the start"),
        (2, {"inode": 3}, "Create: inode 3 is there already; give each new file a number"),
        (2, {"name": "a/b"}, "Create: 'a/b' is no name in a directory"),
        (2, {"mode": 0o100644}, "Create: mode 33188; give the permissions alone"),
        (2, {"inode": -4}, "Create: inode -4; numbers begin at 1"),
        (3, {"inode": 9}, "Write: there is no inode 9; add it to the start"),
        (3, {"inode": 2}, "Write: inode 2 is a directory; bytes are in files only"),
        (3, {"offset_bytes": 1 << 60}, "Write: 10 bytes at 1152921504606846976; a file has at most"),
        (5, {"name": "m"}, "Link: 'm' in directory 2 is inode 4 already"),
        (6, {"name": "x"}, "Rename: 'x' in directory 2 names nothing, not inode 4"),
        (6, {"replaced": 7}, "Rename: 'm' names inode 0 (0: none), so `replaced` cannot be 7"),
        (6, {"new_directory": 4}, "Rename: there is no directory 4"),
        (7, {"promises": "two"}, "Reply: it promises 'two', and line 1 has no message of that id"),
        (8, {"inode": 2}, "Unlink: 'n' in directory 2 names inode 4, not inode 2"),
        (10, {"inode": 0}, "Fsync: there is no inode 0"),
    ],
)
def test_an_event_that_cannot_have_been_is_told(
    line: int, changes: dict[str, object], told: str, tmp_path: Path
) -> None:
    lines = lines_of(story())
    assert set(changes) <= set(lines[line - 1])
    lines[line - 1] |= changes
    assert complaint(lines, tmp_path).startswith(f"line {line}: {told}")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"spool": "nowhere"}, "the start has no spool directory 'nowhere'; add it, or mend `spool`"),
        ({"spool": 7}, "spool has 7, which is no text"),
        ({"notes": [1]}, "notes has 1, which is no text"),
        ({"notes": 5}, "TypeError: 'int' object is not iterable; the header is damaged"),
        ({"baddir": 0}, "baddir has 0, which is no text"),
        ({"baddir": []}, "baddir has [], which is no text"),
        ({"title": "\ud800"}, "no JSON: half a character, '\\ud800', is no text"),
        ({"start": {}}, "the start has no root directory; it is inode 1"),
    ],
)
def test_a_header_that_cannot_be_is_told(changes: dict[str, object], told: str, tmp_path: Path) -> None:
    lines = lines_of(story())
    lines[0] |= changes
    assert complaint(lines, tmp_path).startswith(f"line 1: {told}")


def test_words_that_are_no_text_are_told(tmp_path: Path) -> None:
    for field, value, told in (
        ("argv", ["sendmail", 7], "field 'argv' has 7, which is no text"),
        ("argv", ["\udfff"], "half a character, '\\udfff', is no text"),
    ):
        lines = lines_of(replace(story(), events=(*story().events, Spawn(10, "smapd", 11, ("smapd", "m")))))
        lines[-1][field] = value
        assert complaint(lines, tmp_path).startswith(f"line {len(lines)}: {told}")


def test_a_whole_character_of_two_halves_is_text(tmp_path: Path) -> None:
    lines = lines_of(replace(story(), title="\U0001f600"))
    file = tmp_path / "h.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="ascii")
    assert "\\ud83d" in file.read_text(encoding="ascii")
    assert soundness.load(file).title == "\U0001f600"


def test_a_start_that_hangs_together_badly_is_told(tmp_path: Path) -> None:
    start = story().start
    for broken, told in (
        (start.changed(2, entries={"a": 50}), "'a' in directory 2 is inode 50, which the start has not"),
        (start.changed(2, entries={"up": 3}), "directory 3 has two names; a directory has one"),
        (start.changed(3, entries={"up": 1}), "directory 1 has two names; a directory has one"),
        (start.changed(2, kind=FILE), "'spool' is no directory in the start"),
        (type(start)({**start.nodes, 9: Node("door")}), "inode 9 is a 'door'; the kinds are"),
    ):
        assert complaint(lines_of(replace(story(), start=broken)), tmp_path).startswith(f"line 1: {told}")


def test_lines_end_with_a_newline_and_with_nothing_else(tmp_path: Path) -> None:
    """U+2028 is a line's end for Python, and a letter like any other in JSON."""
    lines = lines_of(story())
    lines[0]["title"] = "one\u2028two"
    file = tmp_path / "h.jsonl"
    file.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    assert soundness.load(file).title == "one\u2028two"


@pytest.mark.parametrize(
    "name", ["two-smapd", "permanent-failure", "odd-files-in-the-spool-directory", "over-maxbytes"]
)
def test_the_disk_that_the_programs_saw_is_the_one_that_the_history_tells_of(name: str) -> None:
    finished = Address(name).play(load())
    assert live(finished.history) == finished.image
