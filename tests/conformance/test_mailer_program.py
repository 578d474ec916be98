"""The scripted mailer: what it records is true, and what it is told it does."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smap_conformance import mailer_program
from smap_conformance.mailer import Mailer, MailerBroken
from smap_conformance.scans import watching
from smap_simulator.mailer import (
    EXITS,
    FORKS_AWAY,
    HANGS_DEAF,
    SIGNALS,
    Behaviour,
    Input,
    Rule,
    Script,
    always,
    first,
    for_recipient,
    for_senders,
)

BODY = b"x" * 3000


@pytest.fixture
def mailer(tmp_path: Path) -> Mailer:
    return Mailer(tmp_path / "mail", os.getuid(), os.getgid())


def start(mailer: Mailer, *words: bytes, data: bytes = BODY) -> subprocess.Popen[bytes]:
    """Run it as a smapd would: the message is a file, read from its beginning."""
    message = mailer.directory / "message"
    message.write_bytes(data)
    with message.open("rb") as file:
        return subprocess.Popen(
            [os.fsencode(mailer.path), *words],
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"A": "b"},
        )


def run(mailer: Mailer, *words: bytes, data: bytes = BODY) -> tuple[int, bytes]:
    process = start(mailer, *(words or (b"-f", b"s", b"r")), data=data)
    output, _ = process.communicate(timeout=60)
    return process.returncode, output


def test_it_records_how_it_was_run(mailer: Mailer) -> None:
    assert run(mailer, b"-f", b"s\xff@a", b"r1", b"r 2") == (0, b"")
    (found,) = mailer.runs(finished=True)
    assert found.argv == (str(mailer.path), "-f", "s\xff@a", "r1", "r 2")
    assert (found.sender, found.recipients, found.attempt) == ("s\xff@a", ("r1", "r 2"), 1)
    assert (found.input, found.input_bytes, found.environment) == (BODY, len(BODY), {"A": "b"})
    assert found.uids == os.getresuid()
    assert sorted(found.descriptors) == [0, 1, 2]


@pytest.mark.parametrize("behaviour", [*EXITS.values(), *SIGNALS.values()], ids=lambda one: one.name)
def test_it_ends_as_told(mailer: Mailer, behaviour: Behaviour) -> None:
    mailer.script(always(behaviour))
    status, _ = run(mailer)
    assert status == (-behaviour.dies_by if behaviour.dies_by else behaviour.exit_status)
    assert mailer.runs()[0].behaviour == behaviour.name


@pytest.mark.parametrize(
    ("reads", "count"), [(Input.ALL, 3000), (Input.HALF, 1500), (Input.NOTHING, 0), (Input.CLOSED, 0)]
)
def test_it_reads_as_told(mailer: Mailer, reads: Input, count: int) -> None:
    mailer.script(always(Behaviour("x", reads=reads, exit_status=9)))
    assert run(mailer)[0] == 9
    assert mailer.runs()[0].input == BODY[:count]


@pytest.mark.parametrize("stdin", ["<&-", "0>/dev/null", "<&- >&- 2>&-"], ids=["closed", "for writing", "all closed"])
@pytest.mark.parametrize("reads", ["all", "half", "closed"])
def test_a_smapd_that_gives_it_nothing_to_read_is_to_blame_for_that(mailer: Mailer, reads: Input, stdin: str) -> None:
    mailer.script(always(Behaviour("reads", reads=reads)))
    words = ["/bin/sh", "-c", f'exec "$@" {stdin}', "sh", os.fspath(mailer.path), "-f", "s", "r"]
    assert subprocess.run(words, check=False, timeout=60).returncode == 0
    (found,) = mailer.runs(finished=True)
    assert (found.input_bytes, found.input) == (0, b"")
    assert (0 in found.descriptors) == ("<&-" not in stdin)


def test_it_makes_noise(mailer: Mailer) -> None:
    mailer.script(always(Behaviour("loud", output_bytes=200_000)))
    status, output = run(mailer)
    assert status == 0
    assert 190_000 < len(output) <= 210_000


def test_attempts_are_counted_for_each_message(mailer: Mailer) -> None:
    mailer.script(first(2, EXITS[75]))
    assert [run(mailer)[0] for _ in range(3)] == [75, 75, 0]
    assert run(mailer, b"-f", b"another", b"r")[0] == 75
    assert [found.attempt for found in mailer.runs()] == [1, 2, 3, 1]
    mailer.forget()
    assert mailer.runs() == []
    assert run(mailer)[0] == 75


def test_it_hangs_and_is_deaf(mailer: Mailer) -> None:
    mailer.script(always(HANGS_DEAF))
    process = start(mailer, b"-f", b"s", b"r")
    try:
        while not mailer.runs(finished=True):
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.communicate(timeout=0.2)
    finally:
        process.kill()
        process.communicate()


def test_it_leaves_a_child_that_holds_its_descriptors(mailer: Mailer) -> None:
    mailer.script(always(FORKS_AWAY))
    reading, writing = os.pipe()
    message = mailer.directory / "message"
    message.write_bytes(BODY)
    with message.open("rb") as file:
        process = subprocess.Popen([mailer.path, "-f", "s", "r"], stdin=file, stdout=writing, start_new_session=True)
    os.close(writing)
    try:
        assert process.wait(timeout=60) == 0
        os.set_blocking(reading, False)
        with pytest.raises(BlockingIOError):  # not the end of file: somebody holds it still
            os.read(reading, 1)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        os.close(reading)


def test_where_proc_is_closed_its_own_environment_is_as_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the target changed its effective user only: the kernel lets such a program not read its own file."""

    def closed(path: str, mode: str) -> None:
        raise PermissionError(path, mode)

    monkeypatch.setattr(mailer_program, "open", closed, raising=False)
    monkeypatch.setattr(os, "environb", {b"PATH": b"/bin", b"B": b"\xff=", b"LC_CTYPE": b"C.UTF-8"})
    assert mailer_program.environment() == {"B": "\xff=", "PATH": "/bin"}


def test_a_broken_mailer_is_a_part_of_the_scene_and_does_not_end_the_run(mailer: Mailer) -> None:
    assert mailer.describe() == "(no run)"
    (mailer.directory / "script.json").write_text("{", encoding="utf-8")
    run(mailer)
    assert "JSONDecodeError" in mailer.describe()


def test_a_broken_script_is_the_harness_s_fault(mailer: Mailer) -> None:
    (mailer.directory / "script.json").write_text("{", encoding="utf-8")
    assert run(mailer)[0] == 75  # so that the target keeps its message meanwhile
    with pytest.raises(MailerBroken, match="JSONDecodeError"):
        mailer.runs()


behaviours = st.builds(
    Behaviour, st.text(max_size=5), st.sampled_from(Input), st.integers(0, 9), st.floats(0, 9), st.integers(0, 255),
    st.sampled_from([0, 9]), st.booleans(), st.booleans(), st.booleans(), st.none() | st.just(("127.0.0.1", 25)),
)  # fmt: skip
words = st.none() | st.sampled_from(["a", "b"])
rules = st.builds(Rule, behaviours, words, words, st.none() | st.integers(1, 3))


@given(st.lists(rules, max_size=4).map(lambda found: Script(tuple(found))))
def test_a_script_survives_the_way_to_the_program(script: Script) -> None:
    import json  # noqa: PLC0415 - what the program reads it with

    assert Script.from_json(json.loads(json.dumps(script.as_json()))) == script


def test_program_and_table_choose_alike(mailer: Mailer) -> None:
    """The program cannot import the table's own choice; here both are asked the same."""
    for script in (
        for_recipient("b", EXITS[67]),
        for_senders({"a": EXITS[75], "b": EXITS[1]}, EXITS[2]),
        Script((Rule(EXITS[64], sender="a", recipient="c", attempts=1), Rule(EXITS[65], recipient="c"))),
    ):
        mailer.script(script)
        mailer.forget()
        for sender in ("a", "b"):
            for recipients in (["b"], ["c", "b"], ["c"], ["c"]):
                status, _ = run(mailer, b"-f", sender.encode(), *map(str.encode, recipients))
                attempt = mailer.runs()[-1].attempt
                assert status == script.choose(sender, recipients, attempt).exit_status


def test_looks_into_a_directory_are_counted_and_files_read_in_it_are_not(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with watching(tmp_path) as scans:
        (tmp_path / "file").read_bytes()
        assert scans.count() == 0
        os.listdir(tmp_path)
        os.listdir(tmp_path)
        assert scans.count() == 1  # in one breath: the reads of one scan
