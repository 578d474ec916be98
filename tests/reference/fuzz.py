"""Fuzz what reads hostile or broken input: `python tests/reference/fuzz.py [SECONDS [SEED]]`.

Where atheris is installed (`pip install atheris`) it leads the search by coverage; else inputs are mutated from a
corpus, blindly, by a generator that starts from SEED. Either way the first byte of an input chooses the target, the
rest is what it reads, and a target raises at an input that is treated wrongly. That input is printed as Python bytes;
`replay` in a test or at a prompt runs it again.

    session   any input, whole and cut, against the model that reads it all at once
    command   any line is a command or a refusal, and an address that is taken is inert
    envelope  any file is a heading or a HeadingError, however it is cut, and a heading encodes to itself
    netperm   any text is settings or a TableError

Exit status: 0 nothing found, 1 something wrong, 64 wrong arguments.
"""

import importlib
import importlib.util
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType

import broken_tables
from dialogues import CASES
from model import expected
from playing import Faults, cut, play
from smap_reference import command, envelope, netperm, reply
from smap_reference import data as data_module
from smap_reference import session as session_module
from smap_reference.command import Command
from smap_reference.netperm import TableError, parse

SECONDS = 60.0
BYTES_MAX = 6000


def session(data: bytes) -> None:
    """Two bytes of limits and faults, two that say where to cut, and what the client sends."""
    head, sent = data[:4].ljust(4, b"\0"), data[4:]
    dice = random.Random(head[2:])
    places = [dice.randrange(len(sent) + 1) for _ in range(head[2] % 16)]
    recipients_max = head[0] % 4 or None
    refusal = (reply.LOCAL_ERROR, reply.NO_ROOM)[head[0] >> 7]
    number = head[1] % 4
    fault = head[1] >> 6
    faults = Faults(*({number: refusal} if kind == fault else {} for kind in range(3)))
    size = None if fault == 1 else (head[0] >> 2) % 32 or None  # which of the two comes first depends on the cuts
    wanted = expected(sent, faults, message_bytes_max=size, recipients_max=recipients_max)
    assert play([sent], faults, message_bytes_max=size, recipients_max=recipients_max) == wanted
    assert play(cut(sent, places), faults, message_bytes_max=size, recipients_max=recipients_max) == wanted


def line(data: bytes) -> None:
    """One command line."""
    asked = command.parse(data)
    if not isinstance(asked, Command):
        assert asked.refuses
        return
    assert asked.verb in command.VERBS
    if asked.verb in (b"MAIL", b"RCPT") and (asked.argument or asked.verb == b"RCPT"):
        assert envelope.is_inert(asked.argument)
        assert command.is_mailbox(asked.argument)


def _heading(pieces: Iterator[bytes]) -> envelope.Heading | str:
    heading = envelope.Heading()
    try:
        for piece in pieces:
            if piece and heading.feed(piece):
                return heading
        heading.feed(b"")
    except envelope.HeadingError as error:
        return str(error)
    raise AssertionError("the end of the file was taken for a heading")


def file(data: bytes) -> None:
    """A byte that says where to cut, and a spool file."""
    dice, text = random.Random(data[:1]), data[1:]
    whole = _heading(iter([text]))
    pieces = _heading(cut(text, [dice.randrange(len(text) + 1) for _ in range(8)]))
    if isinstance(whole, str):
        assert pieces == whole
        return
    assert not isinstance(pieces, str)
    assert (pieces.sender, pieces.recipients, pieces.body_offset) == (whole.sender, whole.recipients, whole.body_offset)
    sender = b"" if whole.sender == envelope.NULL_SENDER else whole.sender
    assert envelope.encode(sender, whole.recipients) == text[: whole.body_offset]


def table(data: bytes) -> None:
    """A netperm-table, read by both programs."""
    text = data.decode("utf-8", "surrogateescape")
    for program in ("smap", "smapd"):
        try:
            settings = parse(text, "table", program)
        except TableError as error:
            if "\n" in str(error):
                raise AssertionError("a complaint is one line") from error
            continue
        assert settings.directory.startswith("/")
        assert 1 <= settings.wakeup_s < 2**63
        assert 1 <= (settings.timeout_s or 1) < 2**63


TARGETS: tuple[Callable[[bytes], None], ...] = (session, line, file, table)


def replay(data: bytes) -> None:
    """Run one input; raises what is wrong about it."""
    if data:
        TARGETS[data[0] % len(TARGETS)](data[1:])


def corpus() -> list[bytes]:
    """Inputs to begin with: every dialogue, each line of one, headings, and good and broken tables."""
    found = [
        b"\0" + bytes([seed, seed * 37 % 256, seed * 11 % 256, 0]) + case.sent[:BYTES_MAX]
        for seed, case in enumerate(CASES)
    ]
    found += [b"\1" + text + b"\n" for text in dict.fromkeys(b"".join(case.sent[:999] for case in CASES).split(b"\n"))]
    found += [b"\2\0" + envelope.encode(b"", [b"a@x"]) + b"text", b"\2\1" + envelope.encode(b"s@y", [b"a", b"b@x"])]
    found += [b"\3" + broken_tables.GOOD.encode()]
    found += [b"\3" + broken.text.encode("utf-8")[:600] for broken in broken_tables.BROKEN.values()]
    return found


# Words that blind mutation would not find
WORDS = (
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b".",
        b"\r\n.\r\n",
        b"\n.\n",
        b"\0",
        b"\xff",
        b" ",
        b"\t",
        b"<",
        b">",
        b"@",
        b",",
        b":",
        b"-",
    ),
    *(
        b"HELO x\r\n",
        b"MAIL FROM:<a@x>\r\n",
        b"RCPT TO:<b@x>\r\n",
        b"DATA\r\n",
        b"RSET\r\n",
        b"QUIT\r\n",
        b"GET ",
        b"x" * 1100,
    ),
    *(
        b"FROM ",
        b"RCPT ",
        b"BODY\n",
        b"<>",
        b"smap: ",
        b"smapd: ",
        b"*: ",
        b"timeout ",
        b"directory /",
        b"sendmail ",
        b"9" * 30,
    ),
)


def mutated(dice: random.Random, inputs: list[bytes]) -> bytes:
    """A new input from one or two others."""
    data = dice.choice(inputs)
    for _ in range(dice.choice((1, 1, 2, 4, 8))):
        start, end = sorted((dice.randint(1, max(1, len(data))), dice.randint(1, max(1, len(data)))))
        other = dice.choice(inputs)[1:]
        middle = dice.choice((dice.choice(WORDS), bytes([dice.randrange(256)]), data[start:end] * 2, b"", other))
        end = start if dice.random() < 0.5 else min(end, start + 8)
        data = (data[:start] + middle + data[end:])[:BYTES_MAX]
    return data


def blindly(inputs_max: int, until_s: float, seed: int) -> int:
    """Mutate and run; how many inputs. Raises AssertionError with the first wrong one."""
    dice = random.Random(seed)
    inputs = corpus()
    for number, data in enumerate(inputs):
        _run(data, f"input {number} of the corpus")
    for number in range(inputs_max):
        if number % 64 == 0 and time.monotonic() >= until_s:
            return number
        data = mutated(dice, inputs)
        _run(data, f"input {number} of seed {seed}")
        if dice.random() < 0.02:  # go on from where it led, now and then
            inputs[dice.randrange(len(inputs))] = data
    return inputs_max


def _run(data: bytes, name: str) -> None:
    try:
        replay(data)
    except Exception as error:  # whatever it is, it is what is looked for
        raise AssertionError(f"{name}: replay({data!r})") from error


def by_coverage(seconds: float, seed: int, directory: Path) -> None:
    """Hand the search to atheris. Raises AssertionError with the wrong input, if one is found."""
    for number, data in enumerate(corpus()):
        _run(data, f"input {number} of the corpus")
        (directory / str(number)).write_bytes(data)
    found = directory / "found"
    found.mkdir()
    pid = os.fork()  # libFuzzer ends the process that it runs in
    if not pid:
        atheris = importlib.import_module("atheris")
        for function in _functions():
            atheris.instrument_func(function)
        options = [
            f"-max_total_time={seconds:.0f}",
            f"-seed={seed or 1}",
            f"-max_len={BYTES_MAX}",
            "-print_final_stats=1",
        ]
        atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={found}/", str(directory)], replay)
        atheris.Fuzz()
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    for path in found.iterdir():
        _run(path.read_bytes(), path.name)
        raise AssertionError(f"{path.name}: replay({path.read_bytes()!r}), and nothing wrong the second time")
    assert os.waitstatus_to_exitcode(status) == 0, f"the fuzzer ended with status {status}"


def _functions() -> Iterator[FunctionType]:
    """Every function and method of the modules whose coverage leads the search."""
    for module in (command, data_module, envelope, netperm, session_module):
        for value in vars(module).values():
            for member in vars(value).values() if isinstance(value, type) else [value]:
                if isinstance(member, FunctionType) and member.__module__ == module.__name__:
                    yield member


def main(arguments: list[str]) -> int:
    """The program; returns its exit status."""
    try:
        seconds = float(arguments[0]) if arguments else SECONDS
        seed = int(arguments[1]) if arguments[1:] else 0
    except ValueError:
        print("usage: fuzz.py [SECONDS [SEED]]", file=sys.stderr)
        return 64
    led = importlib.util.find_spec("atheris") is not None
    try:
        if led:
            with tempfile.TemporaryDirectory() as directory:
                by_coverage(seconds, seed, Path(directory))
        else:
            tried = blindly(sys.maxsize, time.monotonic() + seconds, seed)
            print(f"{tried} inputs from seed {seed}: nothing wrong")
    except AssertionError as error:
        print(error)
        print(f"because: {error.__cause__!r}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
