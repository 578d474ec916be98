"""Histories written by hand, in a few words.

    script("creat m; write m 3 blocks; fsync m; chmod m; reply one")

    creat F [MODE]   write F N [blocks] [at OFFSET]   overwrite is `write F N at 0`     trunc F N
    chmod F [MODE]   chown F UID   link F G   unlink F   rename F G   mkdir D
    fsync F   fdatasync F   syncfs   fail CALL F   reply ID   exit STATUS   spawn PROCESS   as PROCESS
    lock F [fcntl]   unlock F [fcntl]   mail F STATUS [BYTES]: the mailer reads all of F, or so many bytes, and ends

A name is in the spool directory, unless it has a directory before it: `bad/m`. A directory is synced as `spool`, `bad`.
"""

from collections.abc import Callable

from smap_simulator import history as h
from smap_simulator.contents import Bounds
from smap_simulator.crash import Crashes, live
from smap_simulator.image import Image, spool_image

BLOCK_BYTES = 4096


def content(number: int, size_bytes: int) -> bytes:
    """Bytes without a zero that show where they are from."""
    line = b"%d is the number of this write\n" % number
    return (line * (size_bytes // len(line) + 1))[:size_bytes]


class Script:
    """Turns words into events. `run` may be called several times."""

    def __init__(self, start: Image | None = None, *, first_write: int = 1) -> None:
        self.start = start or spool_image()
        self.events: list[h.Event] = []
        self.process = 10
        self._next = max(self.start.nodes) + 1
        self._sizes: dict[int, int] = {}
        self._child = 900
        self._writes = first_write - 1
        self._names: dict[tuple[int, str], int] = {
            (inode, name): named for inode, node in self.start.nodes.items() for name, named in node.entries.items()
        }

    def run(self, text: str) -> "Script":
        for line in text.replace("\n", ";").split(";"):
            words = line.split()
            if words:
                known: Callable[[list[str]], None] = getattr(self, f"_{words[0]}")
                known(words[1:])
        return self

    def history(self, messages: tuple[h.Message, ...] = ()) -> h.History:
        return h.History(self.start, tuple(self.events), messages)

    def inode(self, path: str) -> int:
        return self._names[self._place(path)]

    def _place(self, path: str) -> tuple[int, str]:
        directory, _, name = path.rpartition("/")
        if path in ("spool", "bad"):
            return 1, path
        at = 1
        for part in (directory or "spool").split("/"):
            at = self._names[(at, part)]
        return at, name

    def _add(self, kind: type[h.Event], *values: object) -> None:
        self.events.append(kind(self.process, "smap", *values))

    def _as(self, words: list[str]) -> None:
        self.process = int(words[0])

    def _creat(self, words: list[str]) -> None:
        place = self._place(words[0])
        self._names[place] = self._next
        self._add(h.Create, self._next, *place, int(words[1], 8) if words[1:] else 0o644)
        self._next += 1

    def _mkdir(self, words: list[str]) -> None:
        place = self._place(words[0])
        self._names[place] = self._next
        self._add(h.Mkdir, self._next, *place, 0o755)
        self._next += 1

    def _write(self, words: list[str]) -> None:
        inode = self.inode(words[0])
        size = int(words[1]) * (BLOCK_BYTES if words[2:3] and words[2].startswith("block") else 1)
        offset = int(words[words.index("at") + 1]) if "at" in words else self._sizes.get(inode, len(self._start(inode)))
        self._writes += 1
        self._add(h.Write, inode, offset, content(self._writes, size))
        self._sizes[inode] = max(offset + size, self._sizes.get(inode, len(self._start(inode))))

    def _start(self, inode: int) -> bytes:
        node = self.start.nodes.get(inode)
        return node.data if node else b""

    def _trunc(self, words: list[str]) -> None:
        inode = self.inode(words[0])
        self._sizes[inode] = int(words[1])
        self._add(h.Truncate, inode, int(words[1]))

    def _chmod(self, words: list[str]) -> None:
        self._add(h.Chmod, self.inode(words[0]), int(words[1], 8) if words[1:] else 0o755)

    def _chown(self, words: list[str]) -> None:
        self._add(h.Chown, self.inode(words[0]), int(words[1]), 0)

    def _link(self, words: list[str]) -> None:
        inode, place = self.inode(words[0]), self._place(words[1])
        self._names[place] = inode
        self._add(h.Link, inode, *place)

    def _unlink(self, words: list[str]) -> None:
        place = self._place(words[0])
        self._add(h.Unlink, self._names.pop(place), *place)

    def _rename(self, words: list[str]) -> None:
        old, new = self._place(words[0]), self._place(words[1])
        inode = self._names.pop(old)
        self._add(h.Rename, inode, *old, *new, self._names.get(new, 0))
        self._names[new] = inode

    def _fsync(self, words: list[str]) -> None:
        self._add(h.Fsync, self.inode(words[0]))

    def _fdatasync(self, words: list[str]) -> None:
        self._add(h.Fsync, self.inode(words[0]), True)

    def _syncfs(self, _words: list[str]) -> None:
        self._add(h.Syncfs)

    def _fail(self, words: list[str]) -> None:
        self._add(h.Failed, words[0], 5, self.inode(words[1]), True)

    def _reply(self, words: list[str]) -> None:
        self._add(h.Reply, 1, 250, "ok", words[0])

    def _lock(self, words: list[str]) -> None:
        self._add(h.Lock, self._named(words[0]), words[1] if words[1:] else "flock", True)

    def _unlock(self, words: list[str]) -> None:
        self._add(h.Unlock, self._named(words[0]), words[1] if words[1:] else "flock")

    def _named(self, path: str) -> int:
        """The inode that a name leads to, or led to last."""
        place = self._place(path)
        found = [event for event in self.events if getattr(event, "name", "") == place[1]]
        return self._names.get(place) or int(getattr(found[-1], "inode", 0))

    def _mail(self, words: list[str]) -> None:
        inode = self.inode(words[0])
        argv = ("/usr/sbin/sendmail", "-f", "s@a.example", "r@b.example")
        data = live(self.history()).nodes[inode].data
        self._child += 1
        self._add(h.Spawn, self._child, argv)
        self.events.append(h.MailerStart(self._child, "mailer", argv, inode))
        read = data[: int(words[2])] if words[2:] else data
        self.events.append(h.MailerEnd(self._child, "mailer", argv, read, int(words[1]), inode))
        self.events.append(h.Exit(self._child, "mailer", int(words[1])))

    def _spawn(self, words: list[str]) -> None:
        self._add(h.Spawn, int(words[0]), ("smap",))

    def _exit(self, words: list[str]) -> None:
        self._add(h.Exit, int(words[0]))


def script(text: str, *, before: str = "") -> h.History:
    """The history of a script. What `before` does has long been durable when it begins."""
    start = live(Script(first_write=101).run(before).history()) if before else None
    return Script(start).run(text).history()


def images(history: h.History, model: str, cut: int | None = None, bounds: Bounds | None = None) -> list[Image]:
    """The images of all states at a cut; at the end of the history without one."""
    at = len(history.events) if cut is None else cut
    return [state.image for state in Crashes(history, model).states(at, bounds or Bounds())]
