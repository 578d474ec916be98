"""Deliberately wrong variants of the reference: the checks of the checker.

Each mutant is one snippet of one module put in another's place, together with the guarantee that it breaks. The
simulator must find every one by that guarantee; one that survives is a guarantee that nobody holds. A snippet has to
be found exactly once, so a mutant cannot outlive the code that it was made for.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from smap_simulator import programs
from smap_simulator.programs import Programs


class MutantError(ValueError):
    """A mutant that does not fit its program any more; the text names it and the module."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """`snippet` of the module becomes `instead`. `breaks` is the word of the guarantee that finds it.

    The words are those of `check` and `conduct`.
    `where` is the address (without the mutant) of a run that shows it soon, and `model` what that run's crashes are
    of: "" where it needs none. A fault is swept from there on, and so is a seed.
    """

    name: str
    module: str
    snippet: str
    instead: str
    breaks: str
    why: str
    where: str = "one-message"
    model: str = ""


def apply(mutant: Mutant, package: Path, directory: Path) -> Path:
    """Copy the package into `directory` with the mutant in it; returns the copy. MutantError when it does not fit."""
    source = (package / f"{mutant.module}.py").read_text(encoding="utf-8")
    count = source.count(mutant.snippet)
    if count != 1:
        raise MutantError(f"mutant {mutant.name}: its snippet is {count} times in {mutant.module}.py; mend the mutant")
    copy = directory / package.name
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / f"{mutant.module}.py").write_text(source.replace(mutant.snippet, mutant.instead), encoding="utf-8")
    return copy


@contextmanager
def loaded(name: str) -> Iterator[Programs]:
    """The programs of a mutant, or with "" those of the reference. MutantError when it does not fit."""
    if not name:
        yield programs.load()
        return
    with tempfile.TemporaryDirectory(prefix="smaplab-mutant-") as directory:
        variant = programs.load(apply(named(name), programs.reference_directory(), Path(directory)))
        try:
            yield variant
        finally:
            programs.unload(variant)


_SYNC_DATA = "self._disk.fsync(self._fd)  # G1 whole: the mark can never name less than the whole message\n"
_MARK = "self._disk.fchmod(self._fd, WHOLE)\n"
_SYNC_MARK = "self._disk.fsync(self._fd)  # G2 marked: fdatasync, O_SYNC or an fsync of the directory would not do\n"
_SYNC_NAME = "sync_directory(self._disk, SPOOL)  # G3 named: strict POSIX; the file systems measured do it with G2\n"
_LOCKS = "self._disk.flock(self._fd)\n            self._disk.lockf(self._fd, exclusive=True)\n"
_HELD = "sync_directory(disk, baddir)  # G5 set aside: held there before it can be missing here\n"
_THERE = "sync_directory(disk, baddir)  # G5 set aside: first there …\n"
_NOT_HERE = "sync_directory(disk, SPOOL)  # G5 … and only then not here: it does not come back\n"

MUTANTS: tuple[Mutant, ...] = (
    # The way in: one for each fsync, then their order and kind
    Mutant(
        "no-fsync-of-the-data", "spool", _SYNC_DATA, "pass\n", "MARK",
        "the mark reaches the disk before the message: 755 and empty",
        model="strict-posix",
    ),
    Mutant(
        "no-fsync-of-the-mark", "spool", _SYNC_MARK, "pass\n", "LOST",
        "250 was said, and after the power cut the file is 644",
        model="strict-posix",
    ),
    Mutant(
        "no-fsync-of-the-name", "spool", _SYNC_NAME, "pass\n", "LOST",
        "bytes and mode are durable, and under strict POSIX there is no name",
        model="strict-posix",
    ),
    Mutant(
        "mark-before-the-data", "spool", f"{_SYNC_DATA}        {_MARK}        {_SYNC_MARK}",
        f"{_MARK}        {_SYNC_DATA}        {_SYNC_MARK}", "MARK",
        "a commit between the two makes the mark durable alone",
        model="strict-posix",
    ),
    Mutant(
        "one-fsync-for-both", "spool", f"{_SYNC_DATA}        {_MARK}", _MARK, "MARK",
        "chmod, then one fsync: the same in its shortest form",
        model="strict-posix",
    ),
    Mutant(
        "fdatasync-of-the-mark", "spool", _SYNC_MARK, "self._disk.fdatasync(self._fd)\n", "LOST",
        "fdatasync leaves the mode behind on ext4",
        model="ext2",
    ),
    Mutant(
        "retried-fsync", "spool", _SYNC_DATA,
        "try:\n            self._disk.fsync(self._fd)\n"
        "        except OSError:\n            self._disk.fsync(self._fd)\n",
        "LOST", "the second fsync reports success for bytes that are gone",
        where="one-message+fault=smap.fsync.EIO.1", model="ext4-ordered",
    ),
    Mutant(
        "ignored-fsync-error", "spool", _SYNC_DATA,
        "try:\n            self._disk.fsync(self._fd)\n        except OSError:\n            pass\n",
        "LOST", "the error was the only word about it",
        where="one-message+fault=smap.fsync.EIO.1", model="ext4-ordered",
    ),
    Mutant(
        "ignored-close-error", "spool",
        "self._disk.close(fd)  # gives up the locks; its failure is a failure to write\n",
        "try:\n            self._disk.close(fd)\n        except OSError:\n            pass\n",
        "PROMISE", "close may be where a network file system tells of the failure",
        where="one-message+fault=smap.close.EIO.1",
    ),
    Mutant(
        "said-before-it-is-done", "smap", "self._session.finished(self._finish())\n",
        "self._session.finished(None)\n"
        "                        self._say(self._session.step())  # type: ignore[arg-type]\n"
        "                        self._finish()\n",
        "LOST", "250 goes out before anything is durable",
        model="ext4-ordered",
    ),
    Mutant(
        "said-whatever-comes", "smap", "self._session.finished(self._finish())\n",
        "self._finish()\n                        self._session.finished(None)\n",
        "LOST", "the refusal of the machine is overheard",
        where="one-message+fault=smap.open.EIO.1",
    ),
    # The spool file while it is written
    Mutant(
        "marked-from-the-start", "spool", "PARTIAL = 0o644\n", "PARTIAL = 0o755\n", "MARK",
        "every half-written file says that it is whole",
        model="process-crash",
    ),
    Mutant(
        "short-write-ignored", "spool", "view = view[taken:]\n", 'view = b""\n', "PARTIAL",
        "what the disk did not take is dropped",
        where="one-message+fault=smap.write.short1.1",
    ),
    Mutant(
        "no-lock", "spool", _LOCKS, "pass\n", "LOCK",
        "nobody can see that somebody writes",
    ),
    Mutant(
        "lock-lost-by-a-second-descriptor", "spool", _LOCKS,
        "self._disk.lockf(self._fd, exclusive=True)\n"
        "            self._disk.close(self._disk.open(self.name, O_RDONLY))\n",
        "LOCK", "closing any descriptor of the file drops the process's fcntl locks",
    ),
    Mutant(
        "unlocked-before-the-mark", "spool", _MARK,
        "self._disk.close(self._fd)\n        self._fd = self._disk.open(self.name, O_WRONLY)\n        " + _MARK,
        "LOCK", "unlocked and 644 means left behind by a crash",
    ),
    Mutant(
        "name-not-exclusive", "spool", "O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW", "O_WRONLY | O_CREAT | O_NOFOLLOW",
        "LOST", "a name that comes a second time takes the file of the first message",
        where="two-messages-in-one-session",
    ),
    Mutant(
        "refused-and-left-whole", "spool", "            self._disk.unlink(self.name)\n", "            pass\n", "LEFT",
        "the client was refused, and the message is delivered all the same",
        where="one-message+fault=smap.fsync.EIO.1",
    ),
    Mutant(
        "recipients-of-the-message-before", "session", "self._recipients: list[bytes] = []\n",
        'self._recipients: list[bytes] = getattr(self, "_recipients", [])\n', "ENVELOPE",
        "the second message of a session goes to the first one's recipients too",
        where="two-messages-in-one-session",
    ),
    Mutant(
        "never-let-go", "smap", "            self._until_s = self._system.clock.monotonic() + self._timeout_s\n",
        "            self._until_s = None\n", "STUCK",
        "a client that says nothing any more holds its session for ever",
        where="a-client-that-stalls-in-the-body",
    ),
    # The way out
    Mutant(
        "644-is-delivered", "spool",
        "return stat.st_mode & S_IFMT == S_IFREG and stat.st_mode & 0o7777 == WHOLE\n",
        "return stat.st_mode & S_IFMT == S_IFREG\n", "PARTIAL",
        "what a crash left half-written is mailed",
        model="process-crash",
    ),
    Mutant(
        "delivered-without-the-lock", "spool", "disk.flock(fd)\n        disk.lockf(fd, exclusive=False)\n", "pass\n",
        "DUPLICATE", "two smapd take the same message",
        where="two-smapd",
    ),
    Mutant(
        "taken-from-somebody-else", "spool",
        "    except BlockingIOError:\n        return False\n    return True\n",
        "    except BlockingIOError:\n        pass\n    return True\n", "LOCK",
        "the lock is asked for, and the answer is overheard",
        where="two-smapd",
    ),
    Mutant(
        "tried-only-once", "smapd", "busy = set(self._running.values()) | self._owed\n",
        "busy = set(self._running.values()) | self._owed | set(self._tried)\n", "STUCK",
        "what was kept once lies there until smapd is started again",
        where="temporary-failure-then-success",
    ),
    Mutant(
        "does-not-stop", "smapd", "while self._running or not processes.stopping():\n", "while True:\n", "STUCK",
        "SIGTERM is heard, and nothing comes of it",
    ),
    Mutant(
        "not-looked-at-again", "spool",
        "    except FileNotFoundError:\n        return False\n    return is_whole(found) and is_same",
        "    except FileNotFoundError:\n        return True\n    return is_whole(found) and is_same", "DUPLICATE",
        "the file was delivered between the look and the lock",
        where="two-smapd+seed=1",
    ),
    Mutant(
        "removed-before-the-mailer", "smapd", "disk.lseek(fd, self._heading.body_offset)\n",
        "disk.unlink(self._name)\n            disk.lseek(fd, self._heading.body_offset)\n", "LOST",
        "the mailer fails, and there is nothing to try again with",
        where="permanent-failure",
    ),
    Mutant(
        "75-is-delivered", "smapd", "EX_TEMPFAIL: KEPT,\n", "EX_TEMPFAIL: DELIVERED,\n", "LOST",
        "later means never",
        where="temporary-failure-then-success",
    ),
    Mutant(
        "a-signal-is-delivered", "smapd", "return KEPT if status < 0", "return DELIVERED if status < 0", "LOST",
        "a mailer that was killed did not deliver",
        where="a-mailer-that-dies-then-success",
    ),
    Mutant(
        "any-exit-is-delivered", "smapd", "OUTCOMES.get(status, ASIDE)", "OUTCOMES.get(status, DELIVERED)", "LOST",
        "only 0 means delivered",
        where="permanent-failure",
    ),
    Mutant(
        "first-part-only", "smapd", "return outcome(status), f\"mailer: {told}\"\n        return DELIVERED",
        "return outcome(status), f\"mailer: {told}\"\n            break\n        return DELIVERED", "LOST",
        "the recipients of the other parts get nothing",
        where="the-second-part-of-the-recipients-is-kept",
    ),
    Mutant(
        "no-fsync-of-the-removal", "spool", "sync_directory(disk, SPOOL)  # G4 gone: a delivered message", "pass  #",
        "DUPLICATE", "the message comes back after the power cut, long after it was delivered",
        model="strict-posix",
    ),
    Mutant(
        "not-held", "spool", f"{_HELD}", "pass\n", "BADDIR",
        "between the rename and the fsync of baddir a disk without a journal has neither name",
        where="permanent-failure", model="ext2",
    ),
    Mutant(
        "no-fsync-of-baddir", "spool", _THERE, "pass\n", "BADDIR",
        "the name that held the message goes before the new one is there",
        where="permanent-failure", model="strict-posix",
    ),
    Mutant(
        "no-fsync-of-the-spool", "spool", _NOT_HERE, "pass\n", "BADDIR",
        "what was set aside comes back to the spool",
        where="permanent-failure", model="strict-posix",
    ),
    Mutant(
        "copied-aside", "spool", "            disk.rename(name, place)\n",
        "            from_fd = disk.open(name, O_RDONLY)\n"
        "            to_fd = disk.open(place, O_WRONLY | O_CREAT | O_EXCL, WHOLE)\n"
        "            disk.write(to_fd, disk.read(from_fd, 1 << 20))\n"
        "            disk.close(to_fd)\n            disk.close(from_fd)\n            disk.unlink(name)\n",
        "BADDIR", "a copy has another inode, another owner, and an instant at which it is half",
        where="permanent-failure",
    ),
    Mutant(
        "replaced-aside", "spool", "            disk.rename(name, place)\n",
        "            try:\n                disk.unlink(place)\n            except FileNotFoundError:\n"
        "                pass\n            disk.rename(name, place)\n",
        "BADDIR", "the message that nobody has looked at yet is gone",
        where="permanent-failure-its-name-taken-in-baddir",
    ),
    Mutant(
        "unreadable-is-delivered", "smapd", 'return ASIDE, f"heading: {error}"', 'return DELIVERED, f"{error}"',
        "KEPT-AFTER-FAULT",
        "a heading that cannot be read is no reason to remove the file",
        where="odd-files-in-the-spool-directory",
    ),
    Mutant(
        "one-trouble-ends-all", "smapd",
        "            except OSError as error:\n                self._error(name, error)\n                continue\n",
        "            except FileNotFoundError:\n                continue\n", "DIED",
        "one file that cannot be opened ends the daemon",
        where="one-message+fault=smapd.open.EIO.1",
    ),
    Mutant(
        "delivered-again-and-again", "smapd", "            self._owed.add(name)\n", "            pass\n", "DUPLICATE",
        "a file that cannot be removed is delivered at every scan",
        where="one-message+fault=copy.unlink.EIO.1.ever",
    ),
    Mutant(
        "owed-and-forgotten", "smapd",
        "            self._error(name, error)\n            return\n        self._owed.discard(name)\n",
        "            self._error(name, error)\n        self._owed.discard(name)\n", "DUPLICATE",
        "smapd tries to remove what a copy could not, fails as well, and has it delivered again",
        where="delivered-and-not-removed-at-once+fault=smapd.unlink.EIO.1",
    ),
)  # fmt: skip


def named(name: str) -> Mutant:
    """The mutant of that name; MutantError names the nearest."""
    for mutant in MUTANTS:
        if mutant.name == name:
            return mutant
    raise MutantError(f"no mutant {name}: `smaplab mutants` lists them")
