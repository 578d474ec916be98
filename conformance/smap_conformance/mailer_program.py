"""The program that stands in for sendmail: it records how it was run, then behaves as the script beside it says.

Copied beside a `script.json` and a directory `record`, with a first line that names an interpreter (`-IS`), it imports
nothing of this project and little else: it runs once for each message. For every run it leaves in `record`

    KEY.started.json   argv, environment, working directory, descriptors, ids, attempt; before it reads anything
    KEY.input          what it read from descriptor 0
    KEY.json           the same and: input bytes and SHA-256, how it is about to end

each under its final name only when complete. KEY sorts in the order of starting.
"""

# pathlib would double its start-up time, and it starts once for each message:
# ruff: noqa: PTH100, PTH104, PTH109, PTH115, PTH118, PTH120, PTH123, PTH208
from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import sys
import time

TYPE_CHECKING = False  # typing itself is left out for the same reason
if TYPE_CHECKING:
    from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
RECORD = os.path.join(HERE, "record")
ACCEPTS: dict[str, Any] = {"name": "accepts", "reads": "all", "exit_status": 0}


def write_whole(name: str, text: str) -> None:
    """Under its final name only when complete."""
    path = os.path.join(RECORD, name)
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(path + ".new", path)


def text(raw: str) -> str:
    """Arguments and variables are bytes; JSON keeps them as code points 0 to 255."""
    return os.fsencode(raw).decode("latin-1")


def take_attempt(argv: list[str]) -> int:
    """The number of this run among those with the same arguments, from 1."""
    key = hashlib.sha256("\0".join(argv).encode("latin-1")).hexdigest()[:24]
    attempt = 1
    while True:
        try:
            os.close(os.open(os.path.join(RECORD, f"{key}.{attempt}.attempt"), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            attempt += 1
        else:
            return attempt


def choose(script: list[dict[str, Any]], argv: list[str], attempt: int) -> dict[str, Any]:
    """The behaviour of this run: the first rule that applies."""
    words = argv[1:]
    sender = words[words.index("-f") + 1] if "-f" in words[:-1] else ""
    recipients = words[words.index("-f") + 2 :] if "-f" in words else words
    for rule in script:
        if rule["sender"] is not None and rule["sender"] != sender:
            continue
        if rule["recipient"] is not None and rule["recipient"] not in recipients:
            continue
        if rule["attempts"] is not None and attempt > rule["attempts"]:
            continue
        behaviour: dict[str, Any] = rule["behaviour"]
        return behaviour
    return ACCEPTS


def descriptors() -> dict[str, str]:
    """Open descriptors and what they are."""
    found = {}
    for name in sorted(os.listdir("/proc/self/fd"), key=int):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue  # the one that listed them
    return found


def circumstances(argv: list[str], attempt: int, behaviour: dict[str, Any]) -> dict[str, Any]:
    """What a mailer can see of how it was started."""
    return {
        "argv": argv,
        "attempt": attempt,
        "behaviour": behaviour["name"],
        "cwd": os.getcwd(),
        "descriptors": descriptors(),
        "environment": environment(),
        "gids": list(os.getresgid()),
        "groups": sorted(os.getgroups()),
        "pid": os.getpid(),
        "ppid": os.getppid(),
        "uids": list(os.getresuid()),
        "umask": umask(),
    }


def environment() -> dict[str, str]:
    """As it was handed over: by now the interpreter has put LC_CTYPE into its own."""
    try:
        with open("/proc/self/environ", "rb") as file:
            entries = file.read().split(b"\0")
    except PermissionError:  # started with an effective user that is not the real one, /proc is closed to us
        entries = [b"%s=%s" % pair for pair in os.environb.items() if pair != (b"LC_CTYPE", b"C.UTF-8")]
    pairs = [entry.decode("latin-1").partition("=") for entry in entries if entry]
    return {name: value for name, _, value in sorted(pairs)}


def umask() -> int:
    """The file creation mask, which can only be read by changing it."""
    mask = os.umask(0o77)
    os.umask(mask)
    return mask


def read_input(reads: str, path: str) -> tuple[int, str]:
    """Read descriptor 0 as told, into a file; returns (bytes, SHA-256). One that cannot be read holds nothing: whoever
    started us is to blame for that.
    """
    digest, count = hashlib.sha256(), 0
    if reads == "closed" and is_open(0):
        os.close(0)
    if not is_open(0):  # or it would be the next file that we open
        os.open("/dev/null", os.O_RDONLY)
    limit = None
    if reads == "half":
        limit = max(0, os.fstat(0).st_size - os.lseek(0, 0, os.SEEK_CUR)) // 2 if is_file(0) else 512
    with open(path + ".new", "wb") as file:
        while reads in ("all", "half") and (limit is None or count < limit):
            try:
                chunk = os.read(0, 65536 if limit is None else min(65536, limit - count))
            except OSError:
                break
            if not chunk:
                break
            digest.update(chunk)
            file.write(chunk)
            count += len(chunk)
    os.rename(path + ".new", path)
    return count, digest.hexdigest()


def is_open(descriptor: int) -> bool:
    """Whether there is such a descriptor."""
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def is_file(descriptor: int) -> bool:
    """Whether the descriptor can be sought."""
    try:
        os.lseek(descriptor, 0, os.SEEK_CUR)
    except OSError:
        return False
    return True


def flood(count: int) -> None:
    """Noise on both outputs; a reader that is gone is no matter."""
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    for descriptor in (1, 2):
        left = count // 2
        while left > 0:
            try:
                left -= os.write(descriptor, b"noise from a mailer\n" * min(3000, left // 20 + 1))
            except OSError:
                break


def forward(where: list[Any], argv: list[str], path: str) -> int:
    """Hand the message to an SMTP server, byte for byte but for line ends. Returns a sysexits status."""
    words = argv[1:]
    if "-f" not in words[:-1]:
        return 64  # as a mailer says to arguments that it cannot understand
    position = words.index("-f")
    sender = words[position + 1].strip("<>")
    with open(path, "rb") as file:
        body = file.read()
    lines = body.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    data = b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines)
    with socket.create_connection((where[0], where[1]), timeout=30) as server, server.makefile("rb") as replies:

        def ask(line: bytes | None, wanted: bytes) -> bool:
            if line is not None:
                server.sendall(line + b"\r\n")
            reply = replies.readline()
            while reply[3:4] == b"-":
                reply = replies.readline()
            return reply[:1] == wanted

        asked = [(None, b"2"), (b"HELO mailer.example", b"2"), (b"MAIL FROM:<" + sender.encode("latin-1") + b">", b"2")]
        asked += [(b"RCPT TO:<" + word.strip("<>").encode("latin-1") + b">", b"2") for word in words[position + 2 :]]
        asked += [(b"DATA", b"3"), (data + b".", b"2"), (b"QUIT", b"2")]
        return 0 if all(ask(line, wanted) for line, wanted in asked) else 75


def end(behaviour: dict[str, Any]) -> None:
    """Leave the stage as told."""
    if behaviour.get("forks_away") and os.fork() == 0:
        time.sleep(86400)
    if behaviour.get("hangs"):
        while True:
            time.sleep(86400)
    if behaviour.get("dies_by"):
        if behaviour["dies_by"] != signal.SIGKILL:
            signal.signal(behaviour["dies_by"], signal.SIG_DFL)
        os.kill(os.getpid(), behaviour["dies_by"])
        time.sleep(86400)
    os._exit(behaviour.get("exit_status", 0))


def main() -> None:
    """One run."""
    argv = [text(word) for word in sys.argv]
    key = f"{time.monotonic_ns():020d}.{os.getpid()}"
    with open(os.path.join(HERE, "script.json"), encoding="utf-8") as file:
        script = json.load(file)
    attempt = take_attempt(argv)
    behaviour = choose(script, argv, attempt)
    if behaviour.get("deaf"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    record = circumstances(argv, attempt, behaviour)
    write_whole(key + ".started.json", json.dumps(record))
    path = os.path.join(RECORD, key + ".input")
    record["input_bytes"], record["input_sha256"] = read_input(behaviour.get("reads", "all"), path)
    if behaviour.get("output_bytes"):
        flood(behaviour["output_bytes"])
    if behaviour.get("lingers_s"):
        time.sleep(behaviour["lingers_s"])
    if behaviour.get("forwards_to"):
        try:
            status = forward(behaviour["forwards_to"], argv, path)
        except OSError:  # the server hung up on what it was given, as it may: a mailer says "later" then
            status = 75
        behaviour = dict(behaviour, exit_status=status)
    record["ends"] = {word: behaviour.get(word, 0) for word in ("exit_status", "dies_by", "hangs")}
    write_whole(key + ".json", json.dumps(record))
    end(behaviour)


if __name__ == "__main__":
    try:
        main()
    except Exception:  # the suite must hear of it, and the target must not be blamed for it
        import traceback

        write_whole(f"{time.monotonic_ns():020d}.{os.getpid()}.broken", traceback.format_exc())
        os._exit(75)
