"""Branch coverage of the reference's programs, measured from inside them; wanted where SMAPLAB_COVERAGE is set.

No outside means reaches them: their interpreters are isolated and know no site-packages, they change their user and
their root, close every descriptor that they did not open, and leave by os._exit. So each launcher gets two more lines,
which start coverage before the program's first own line. What was measured goes into memory shared with a file that was
opened before all that: such memory outlives descriptor, user and root, and nothing is opened in the jail for it.

What this hides: a process that ends by a signal, SIGKILL or an unhandled SIGTERM, says nothing of what it did. No test
needs that: whatever such a process executes is executed by one that ends by itself too.
"""

import contextlib
import mmap
import os
import posix  # beneath os, where the reference leaves by
import re
import shutil
import uuid
from pathlib import Path
from typing import Any

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_SWITCH = "SMAPLAB_COVERAGE"
_FOLDER = "measured"
# Under the smallest RLIMIT_FSIZE that a test sets: the size of a file counts even where it is mapped.
_MEMORY_BYTES = 60 << 10
_LENGTH_BYTES = 4


def is_wanted() -> bool:
    return bool(os.environ.get(_SWITCH))


# In the test's process


def prepare(lib: Path, programs: "Iterable[Path]") -> None:
    """Have these programs measure themselves. `lib` is where they import the reference from."""
    import compileall  # noqa: PLC0415 - nothing that the programs would import too

    import coverage  # noqa: PLC0415 - not there for who does not measure

    shutil.copytree(Path(coverage.__file__).parent, lib / "coverage")
    shutil.copy(__file__, lib)
    # Compiled beforehand: else the first program to run writes the compiled files, and a test that makes the first
    # write(2) fail hits one of those.
    compileall.compile_dir(lib, quiet=1)
    (lib / _FOLDER).mkdir()
    (lib / _FOLDER).chmod(0o777)
    for program in programs:
        for packed in program.parent.glob("smap_reference.*"):  # what is measured is the source, a file for each module
            packed.unlink()
        text = program.read_text(encoding="utf-8")
        before, path, after = text.partition(f"sys.path.insert(0, {str(lib)!r})\n")
        assert path, f"{program} does not import from {lib}"
        begin = f"import measured\nmeasured.begin({str(lib)!r})\n"
        program.write_text(before + path + begin + after, encoding="utf-8")


def plain(program: Path) -> Path:
    """The program without the lines of `prepare`, beside it; itself where it has none."""
    lines = program.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if not re.match(r"import measured$|measured\.begin", line)]
    if kept == lines:
        return program
    beside = program.with_name(f"{program.name}.plain")
    beside.write_text("".join(kept), encoding="utf-8")
    beside.chmod(0o755)
    return beside


def collect(lib: Path) -> None:
    """Put what the programs have measured beside what the test's own process measures."""
    import coverage  # noqa: PLC0415

    name = os.environ.get("COVERAGE_FILE", ".coverage")
    total = coverage.CoverageData(name, suffix=f"programs.{uuid.uuid4()}")
    for file in sorted((lib / _FOLDER).iterdir()):
        text = file.read_bytes()
        size_bytes = int.from_bytes(text[:_LENGTH_BYTES], "big")
        if not size_bytes:  # killed
            continue
        part = coverage.CoverageData(no_disk=True)
        part.loads(text[_LENGTH_BYTES : _LENGTH_BYTES + size_bytes])
        total.update(part)
        part.close()
    total.write()
    total.close()


# In the program


def begin(lib: str) -> None:
    """Measure from here to os._exit. Everything that this will need is imported and open when it returns."""
    import warnings  # noqa: PLC0415

    import coverage  # noqa: PLC0415

    warnings.simplefilter("ignore")  # descriptor 2 is the client's
    memory = [_shared(lib)]
    _measurement().get_data().dumps()  # for what it imports
    measurement = _measurement()
    leave = posix._exit

    def record_and_leave(status: int) -> None:
        with contextlib.suppress(coverage.CoverageException):
            measurement.stop()
            text = measurement.get_data().dumps()
            assert len(text) <= _MEMORY_BYTES - _LENGTH_BYTES
            memory[0][_LENGTH_BYTES : _LENGTH_BYTES + len(text)] = text
            memory[0][:_LENGTH_BYTES] = len(text).to_bytes(_LENGTH_BYTES, "big")
        leave(status)

    def open_own() -> None:
        # The one before stays: with it would go the descriptor that it once had, which may be somebody else's by now.
        memory.insert(0, _shared(lib))

    posix._exit = record_and_leave  # type: ignore[assignment]
    os.register_at_fork(after_in_child=open_own)
    measurement.start()


def _measurement() -> Any:
    import coverage  # noqa: PLC0415

    return coverage.Coverage(
        data_file=None, config_file=False, branch=True, include=["*/smap_reference/*"], messages=False
    )


def _shared(lib: str) -> mmap.mmap:
    """Memory that stays, and its file."""
    path = os.path.join(lib, _FOLDER, f"{os.getpid()}.{os.urandom(8).hex()}")
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    os.ftruncate(fd, _MEMORY_BYTES)
    memory = mmap.mmap(fd, _MEMORY_BYTES)
    os.close(fd)
    return memory
