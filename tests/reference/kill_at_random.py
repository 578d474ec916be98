"""Kill -9 under load: smap and its sessions, smapd, its copies and mailers, at seeded random moments; then count.

    python tests/reference/kill_at_random.py [KILLS [SEED]]

Clients send messages through a smap in wait mode and remember which ones got 250. When all kills are done, smapd is
left alone until the spool directory is empty of whole files. Lost is what was promised and is neither with the
mailer nor in baddir; partial is what either has and is not a whole message; delivered twice is allowed. Prints the
counts; exit status 1 when anything was lost or partial, or one kind of process was never hit.
"""

import contextlib
import hashlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass

from programs import Installation, below, installation, until

CLIENTS = 3
# Writes what it is given under a name of its own; whole, because of the rename.
MAILER = """#!/bin/sh
cat > "{sent}/$$.new" && mv "{sent}/$$.new" "{sent}/$$.$(date +%s%N)"
"""


@dataclass(frozen=True)
class Mutant:
    """One place of the reference, broken: what this script must be able to see."""

    module: str
    text: str
    instead: str

    def apply(self, place: Installation) -> None:
        path = place.root / "lib/smap_reference" / self.module
        text = path.read_text(encoding="utf-8")
        assert text.count(self.text) == 1, f"{self.module} has changed: mend the mutant"
        path.write_text(text.replace(self.text, self.instead), encoding="utf-8")


MUTANTS = {
    "250 before the message is whole": Mutant(
        "smap.py",
        "            self._gathering.commit()\n",
        "            self._peer.send(b'250 Early\\r\\n', None)\n"
        "            __import__('time').sleep(0.05)\n"
        "            self._gathering.commit()\n",
    ),
    "a partial file is delivered": Mutant("spool.py", " and stat.st_mode & 0o7777 == WHOLE", ""),
    "removed before the mailer has ended": Mutant(
        "smapd.py",
        "        pid = processes.spawn(argv, fd)\n",
        "        pid = processes.spawn(argv, fd)\n        spool.remove(self._system.disk, self._name)\n",
    ),
}


class Client(threading.Thread):
    """Sends numbered messages until told to stop, and keeps the numbers of the promised ones."""

    def __init__(self, number: int, address: tuple[str, int], stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._number, self._address, self._stopped = number, address, stop
        self.promised: list[str] = []
        self.sent = 0

    def run(self) -> None:
        while not self._stopped.is_set():
            with contextlib.suppress(OSError), socket.create_connection(self._address, timeout=5) as connection:
                self._session(connection)

    def _session(self, connection: socket.socket) -> None:
        replies = connection.makefile("rb")
        with replies:
            replies.readline()
            connection.sendall(b"HELO c.example\r\n")
            replies.readline()
            while not self._stopped.is_set():
                name = f"{self._number}-{self.sent}"
                self.sent += 1
                connection.sendall(b"MAIL FROM:<s@a.example>\r\nRCPT TO:<alice@localhost>\r\nDATA\r\n")
                if [replies.readline()[:3] for _ in range(3)] != [b"250", b"250", b"354"]:
                    return
                text = message(name)
                for start in range(0, len(text), 7000):  # several writes, so that a kill can fall between them
                    connection.sendall(text[start : start + 7000].replace(b"\n", b"\r\n"))
                connection.sendall(b".\r\n")
                if replies.readline()[:3] != b"250":
                    return
                self.promised.append(name)


def message(name: str) -> bytes:
    """A message that shows whether it is whole: its last line is the digest of what stands before."""
    body = f"Subject: {name}\n\n".encode() + b"".join(b"%d %s\n" % (line, name.encode()) for line in range(1000))
    return body + hashlib.sha256(body).hexdigest().encode() + b"\n"


def name_of(delivered: bytes) -> str | None:
    """The name of a whole message as the mailer got it; None for one that is not whole."""
    _, _, text = delivered.partition(b"\n")  # after the Received: line
    body, digest = text[:-65], text[-65:-1]
    if hashlib.sha256(body).hexdigest().encode() != digest:
        return None
    return body.partition(b"\n")[0].removeprefix(b"Subject: ").decode()


def start_smap(place: Installation, listening: socket.socket) -> "subprocess.Popen[bytes]":
    return place.start(place.smap, stdin=listening, stdout=listening, stderr=listening)


VICTIMS = ("session", "session", "session", "copy or mailer", "copy or mailer", "smapd", "smap")


class Family:
    """What descends from the smaps, or the smapds, of a run; also what has outlived its parent."""

    def __init__(self, place: Installation) -> None:
        self._root = os.fsencode(place.root)
        self._seen: set[int] = set()

    def alive(self, parent: int) -> list[int]:
        born = below(parent)
        # A number may be somebody else's by now: an orphan is ours only as long as it runs a program of ours.
        self._seen = {pid for pid in self._seen if self._is_ours(pid)} | set(born)
        return sorted(self._seen)

    def _is_ours(self, pid: int) -> bool:
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                return self._root in file.read()
        except OSError:
            return False


def rampage(place: Installation, kills: int, seed: int, listening: socket.socket) -> Counter[str]:
    """Kill as often as told; what was killed how often. smapd, and the smap that accepts, are started anew."""
    chance = random.Random(seed)
    killed: Counter[str] = Counter()
    smap, smapd = start_smap(place, listening), start_smapd(place)
    sessions, copies = Family(place), Family(place)
    while killed.total() < kills:
        time.sleep(chance.random() * 0.03)
        victim = chance.choice(VICTIMS)
        # Both each time, so that no child is forgotten with its parent.
        alive = {"session": sessions.alive(smap.pid), "copy or mailer": copies.alive(smapd.pid)}
        alive |= {"smapd": [smapd.pid], "smap": [smap.pid]}
        if not alive[victim]:
            continue
        with contextlib.suppress(ProcessLookupError):
            os.kill(chance.choice(alive[victim]), signal.SIGKILL)
            killed[victim] += 1
        if victim == "smapd":
            smapd.wait()
            smapd = start_smapd(place)
        elif victim == "smap":
            smap.wait()
            smap = start_smap(place, listening)
        if sys.stderr.isatty():
            print(f"\r{killed.total()} of {kills} kills", end="", file=sys.stderr, flush=True)
    return killed


def start_smapd(place: Installation) -> "subprocess.Popen[bytes]":
    return place.start(place.smapd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def waiting(place: Installation) -> list[str]:
    """The messages that are still to be delivered. One that is whole keeps its name until then."""
    whole = []
    for path in sorted(place.spool.iterdir()):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mode & 0o100:
                whole.append(path.name)
    return whole


def count(kills: int, seed: int, mutant: Mutant | None = None) -> dict[str, int]:
    """One whole run; the counts."""
    with installation(may_measure=False) as place:  # it is the killed that say nothing
        if mutant is not None:
            mutant.apply(place)
            place.install()
        sent = place.root / "sent"
        sent.mkdir(mode=0o777)
        sent.chmod(0o777)
        mailer = place.root / "mailer"
        mailer.write_text(MAILER.format(sent=sent), encoding="ascii")
        mailer.chmod(0o755)
        place.table(smapd={"sendmail": mailer})
        stop = threading.Event()
        with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
            clients = [Client(number, listening.getsockname(), stop) for number in range(CLIENTS)]
            for client in clients:
                client.start()
            killed = rampage(place, kills, seed, listening)
            stop.set()
            for client in clients:
                client.join()
            # A mailer whose copy was killed holds the lock until it is done, so none is left when the spool is empty.
            until("an empty spool", lambda: not waiting(place))
        names = [name_of(path.read_bytes()) for path in sorted(sent.iterdir()) if path.suffix != ".new"]
        # A shell whose cat was killed ends with 137: an exit status like any other, so the message is set aside.
        aside = {name_of(path.read_bytes().partition(b"BODY\n")[2]) for path in sorted(place.baddir.iterdir())}
        promised = {name for client in clients for name in client.promised}
        delivered = Counter(name for name in names if name is not None)
        return {
            **{f"killed {victim}": killed[victim] for victim in sorted(set(VICTIMS))},
            "sent": sum(client.sent for client in clients),
            "promised": len(promised),
            "delivered": len(delivered),
            "delivered twice": sum(times > 1 for times in delivered.values()),
            "partial files left behind": len(list(place.spool.iterdir())),
            "set aside": len(aside),
            "lost": len(promised - set(delivered) - aside),
            "partial": names.count(None) + (None in aside),
        }


def main() -> int:
    try:
        kills, seed = ([int(word) for word in sys.argv[1:]] + [200, 1][len(sys.argv) - 1 :])[:2]
    except ValueError:
        print(f"usage: {sys.argv[0]} [KILLS [SEED]], two whole numbers", file=sys.stderr)
        return os.EX_USAGE
    counts = count(kills, seed)
    for what, number in counts.items():
        print(f"{number:7d}  {what}")
    missed = [victim for victim in sorted(set(VICTIMS)) if not counts[f"killed {victim}"]]
    if missed:
        print(f"never killed, so this shows little: {', '.join(missed)}", file=sys.stderr)
    return int(bool(counts["lost"] or counts["partial"] or missed))


if __name__ == "__main__":
    sys.exit(main())
