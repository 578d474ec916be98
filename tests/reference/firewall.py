"""A machine of our own to install on, in namespaces: run as `unshare … python firewall.py CASE`, as root.

Nothing in it is the real machine's but the programs: /etc, /usr/local, /usr/sbin and /var are written to in memory
only, /dev and its log are ours, the one network interface is loopback, port 25 is free, and every process ends with
this one. A case prints what it saw as one line of JSON.

    python tests/reference/firewall.py session      as root; enters the namespaces by itself

prints a session with the smap that openbsd-inetd starts from samples/inetd.conf, and the log of both programs.
"""

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import smtplib
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "INSTALL.md"
SAMPLES = ROOT / "samples"
SPOOL = Path("/var/spool/smap")
SMAP = "/usr/local/libexec/smap"
SENT = Path("/run/sent")  # what the mailer was given
MANAGER = "/lib/systemd/systemd"
WAIT_S_MAX = 60.0

NAMESPACES = [
    "unshare",
    "--mount",
    "--net",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
    "--propagation",
    "private",
]
# The reader's PATH. The test's own may begin with the interpreters of a home directory.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PATHS = ":".join([PATH, *(place for place in os.environ["PATH"].split(":") if place.endswith("/sbin"))])

T = TypeVar("T")

# A mailer that keeps what it is given.
MAILER = f"""#!/bin/sh
printf '%s\\n' "$@" > {SENT}/arguments.new
cat > {SENT}/message
mv {SENT}/arguments.new {SENT}/arguments
"""


def mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def enter() -> None:
    """Cover what is the real machine's. We are in new mount, process and network namespaces already."""
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    for place in ("etc", "usr/local", "usr/sbin", "var"):
        upper, work = Path(f"/run/over/{place}/upper"), Path(f"/run/over/{place}/work")
        upper.mkdir(parents=True)
        work.mkdir()
        mount("-t", "overlay", "-o", f"lowerdir=/{place},upperdir={upper},workdir={work}", "overlay", f"/{place}")
    Path("/run/dev").mkdir()
    for name in ("null", "zero", "random", "urandom", "tty"):
        Path(f"/run/dev/{name}").touch()
        mount("--bind", f"/dev/{name}", f"/run/dev/{name}")
    mount("--rbind", "/run/dev", "/dev")
    interface = struct.pack("16sh", b"lo", 1)  # struct ifreq with IFF_UP
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, 0x8914, interface)  # SIOCSIFFLAGS
    with Path("/etc/services").open("a+", encoding="utf-8") as services:  # of the package netbase, if it is there
        services.write("\nsmtp 25/tcp\n")


class Log:
    """A syslog daemon."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("/dev/log")
        Path("/dev/log").chmod(0o666)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            self.lines.append(self._socket.recv(4096).decode())

    def seen(self, part: str) -> str:
        """The line that has `part` in it, when it comes."""
        return until(f"a log line with {part!r}", lambda: next((line for line in self.lines if part in line), ""))


def until(what: str, look: Callable[[], T]) -> T:
    """Look until there is something to see."""
    deadline_s = time.monotonic() + WAIT_S_MAX
    while not (seen := look()):
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{what} did not come within {WAIT_S_MAX} s")
        time.sleep(0.01)
    return seen


def install(log: Log) -> dict[str, object]:
    """Do what the page says, sections 1 to 4, and put the mailer in its place."""
    for block in blocks("sh"):
        shell(block)
    SENT.mkdir(mode=0o777)
    SENT.chmod(0o777)
    Path("/usr/sbin/sendmail").write_text(MAILER, encoding="ascii")
    Path("/usr/sbin/sendmail").chmod(0o755)
    places = [SPOOL, Path(f"{SPOOL}.bad"), Path("/usr/local/etc/netperm-table"), Path(SMAP), Path(f"{SMAP}d")]
    return {str(place): f"{place.owner()}:{place.group()} {place.stat().st_mode & 0o7777:o}" for place in places}


def blocks(kind: str) -> list[str]:
    """The shell commands of the page that are fenced as `kind`."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def shell(commands: str) -> str:
    """Run commands of the page in the repository, as its reader does; what they print."""
    done = subprocess.run(["sh", "-eu"], input=commands, cwd=ROOT, check=True, text=True, capture_output=True)
    return done.stdout


def start(argv: list[str]) -> "subprocess.Popen[bytes]":
    """Start a program as a service: a session of its own, no terminal, its complaints on our stderr."""
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=sys.stderr, start_new_session=True, cwd="/")


# How each super-server is started with its sample


def inetd(waiting: bool) -> list[str]:
    text = (SAMPLES / "inetd.conf").read_text(encoding="utf-8")
    if waiting:
        text = re.sub(r"^smtp", "##smtp", text, flags=re.MULTILINE)
        text = re.sub(r"^#smtp", "smtp", text, flags=re.MULTILINE)
    Path("/etc/inetd.conf").write_text(text, encoding="utf-8")
    return ["inetd", "-i"]


def xinetd(waiting: bool) -> list[str]:
    text = (SAMPLES / "xinetd-smap").read_text(encoding="utf-8")
    if waiting:
        text = re.sub(r"^(\s*wait\s*=) no$", r"\1 yes", text, flags=re.MULTILINE)
    shutil.rmtree("/etc/xinetd.d", ignore_errors=True)
    Path("/etc/xinetd.d").mkdir()
    Path("/etc/xinetd.d/smap").write_text(text, encoding="utf-8")
    Path("/etc/xinetd.conf").write_text("includedir /etc/xinetd.d\n", encoding="ascii")
    return ["xinetd", "-dontfork"]


def tcpserver(waiting: bool) -> list[str]:
    assert not waiting, "tcpserver has no such thing"
    return ["sh", str(SAMPLES / "tcpserver-run")]


def systemd(waiting: bool) -> list[str]:
    """What systemd would do with the units, as far as its own tool does it without systemd running."""
    socket_unit, service_unit = (
        ("smap-wait.socket", "smap-wait.service") if waiting else ("smap.socket", "smap@.service")
    )
    port = unit(socket_unit)["ListenStream"]
    assert unit(socket_unit)["Accept"] == ("no" if waiting else "yes")
    service = unit(service_unit)
    kept = "".join(f",+{name.removeprefix('CAP_').lower()}" for name in service["CapabilityBoundingSet"].split())
    less = ["setpriv", "--no-new-privs", f"--bounding-set=-all{kept}"]
    activate = ["systemd-socket-activate", "--inetd", *([] if waiting else ["--accept"]), f"--listen=127.0.0.1:{port}"]
    return [*activate, *less, *service["ExecStart"].split()]


def unit(name: str) -> dict[str, str]:
    lines = (SAMPLES / name).read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


SERVERS = {"inetd": inetd, "xinetd": xinetd, "tcpserver": tcpserver, "systemd": systemd}


def listening() -> socket.socket:
    """Connect to port 25, as soon as somebody listens there."""
    deadline_s = time.monotonic() + WAIT_S_MAX
    while True:
        try:
            return socket.create_connection(("127.0.0.1", 25), WAIT_S_MAX)
        except ConnectionRefusedError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.01)


def mail(subject: str) -> None:
    """Send one message to port 25."""
    listening().close()
    with smtplib.SMTP("127.0.0.1", 25, "client.example", timeout=WAIT_S_MAX) as client:
        text = f"Subject: {subject}\r\n\r\nOne.\r\n.\r\nTwo.\r\n"
        client.sendmail("me@example.com", ["postmaster", "you@example.org"], text)


def served(server: str, waiting: bool) -> dict[str, object]:
    """One mail through a super-server: the spool file it became, and the log."""
    log = Log()
    install(log)
    start(SERVERS[server](waiting))
    mail(server)
    taken, left = log.seen(" taken "), log.seen("reason=quit messages=1")
    (file,) = SPOOL.iterdir()
    owner = f"{file.owner()}:{file.group()} {file.stat().st_mode & 0o7777:o}"
    return {"name": file.name, "is": owner, "text": file.read_text(encoding="ascii"), "log": [taken, left]}


def delivered(started_by: str) -> dict[str, object]:
    """The whole way: inetd, smap, smapd started as the page says, the mailer; and then the end of smapd."""
    log = Log()
    install(log)
    start(inetd(waiting=False))
    mail("delivered")
    lines = [log.seen(" taken ")]
    if started_by == "rc.local":
        began = subprocess.run([SAMPLES / "rc.local"], check=True, capture_output=True, text=True, cwd="/")
        complaint, smapd = began.stderr, int(pid_of(log.seen(" started ")))
    else:
        complaint, smapd = "", start(unit("smapd.service")["ExecStart"].split()).pid
        assert smapd == int(pid_of(log.seen(" started "))), "it did not stay in the foreground"
    until("the mailer", (SENT / "arguments").exists)
    lines.append(log.seen(" delivered "))
    until("an empty spool directory", lambda: not any(SPOOL.iterdir()))
    os.kill(smapd, signal.SIGTERM)
    log.seen("stopped")
    arguments, message = (SENT / "arguments").read_text("ascii"), (SENT / "message").read_text("ascii")
    return {"complaint": complaint, "arguments": arguments.splitlines(), "message": message, "log": lines}


def first_mail() -> dict[str, object]:
    """The session of section 7, line by line as it is printed, and then the log."""
    log = Log()
    install(log)
    start(inetd(waiting=False))
    (printed,) = re.findall(
        r"^```\n\$ telnet localhost 25\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    host = os.uname().nodename
    happened = []
    with listening() as client, client.makefile("rb") as replies:
        for line in printed.splitlines():
            if re.match(r"\d{3} ", line):
                happened.append(replies.readline().decode("ascii").removesuffix("\r\n").replace(host, "fw.example.com"))
            else:
                happened.append(line)
                client.sendall(line.encode("ascii") + b"\r\n")
    subprocess.run([SAMPLES / "rc.local"], check=True, cwd="/")
    logged = [log.seen(part) for part in ("to=<postmaster>", "reason=quit messages=1", " delivered ")]
    return {"printed": printed.splitlines(), "happened": happened, "log": logged}


def pid_of(log_line: str) -> str:
    found = re.search(r"\[(\d+)\]", log_line)
    assert found
    return found[1]


def looked_after() -> dict[str, object]:
    """Of three partial files, the one that is old and locked by nobody is removed; a whole one is no partial one."""
    install(Log())
    long_ago = time.time() - 86400
    for name, mode, when in (
        ("old", 0o644, long_ago),
        ("locked", 0o644, long_ago),
        ("new", 0o644, None),
        ("whole", 0o755, long_ago),
    ):
        (SPOOL / name).touch(mode)
        (SPOOL / name).chmod(mode)
        if when is not None:
            os.utime(SPOOL / name, (when, when))
    with (SPOOL / "locked").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for block in blocks("sh clean"):
            shell(block)
        return {"left": sorted(path.name for path in SPOOL.iterdir())}


def upgraded() -> dict[str, object]:
    """The programs name the new place, and still run."""
    log = Log()
    install(log)
    for block in blocks("sh upgrade"):
        shell(block)
    shutil.rmtree("/usr/local/lib/smap")
    start(inetd(waiting=False))
    mail("upgraded")
    return {"program": Path(SMAP).read_text("ascii"), "log": log.seen(" taken ")}


def cron() -> dict[str, object]:
    """The command of the sample, run as cron would."""
    install(Log())
    (line,) = [line for line in (SAMPLES / "crontab").read_text("ascii").splitlines() if not line.startswith("#")]
    *when, user, command = line.split(None, 6)
    subprocess.run(["su", "-s", "/bin/sh", "-c", command, user], check=True, stdin=subprocess.DEVNULL)
    return {"when": when, "arguments": (SENT / "arguments").read_text("ascii").splitlines()}


def units() -> dict[str, object]:
    """What systemd says to the units, where they belong."""
    install(Log())
    found = sorted(path.name for path in SAMPLES.iterdir() if path.suffix in (".service", ".socket"))
    for name in found:
        shutil.copy(SAMPLES / name, "/etc/systemd/system/")
    argv = ["systemd-analyze", "verify", *(f"/etc/systemd/system/{name}" for name in found)]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    return {"units": found, "status": done.returncode, "said": done.stdout + done.stderr}


def stormed(socket_unit: str) -> dict[str, object]:
    """systemd on the sample: more clients in a moment than it likes, or a table that is of no use for a while."""
    log = Log()
    install(log)
    units_home = Path("/run/units_home")
    shutil.copytree(SAMPLES, units_home / "systemd/user", ignore=lambda _, names: [n for n in names if "smap" not in n])
    Path("/run/systemd/system").mkdir(parents=True)  # it looks whether this is a machine of systemd's
    os.environ.update(XDG_RUNTIME_DIR=str(units_home), XDG_CONFIG_HOME=str(units_home))
    start([MANAGER, "--user", "--unit=basic.target", "--log-target=console"])
    control = ["systemctl", "--user"]
    until("systemd", lambda: subprocess.run([*control, "start", socket_unit], check=False).returncode == 0)
    if unit(socket_unit)["Accept"] == "yes":
        for _ in range(250):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", 25), WAIT_S_MAX).close()
    else:
        table = Path("/usr/local/etc/netperm-table")
        shutil.move(table, "/run/away")
        for _ in range(25):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", 25), WAIT_S_MAX) as client:
                client.recv(512)
        shutil.move("/run/away", table)
    shown = subprocess.run([*control, "show", "--property=Result", socket_unit], check=True, capture_output=True)
    if shown.stdout == b"Result=success\n":
        until("a mail that is taken", mailed_after_the_storm)
    return {"unit": shown.stdout.decode().strip(), "mail": sum(1 for _ in SPOOL.iterdir())}


def mailed_after_the_storm() -> bool:
    """Whether a mail gets through: the bound on sessions of one client may still be reached."""
    try:
        mail("after the storm")
    except (OSError, smtplib.SMTPException):
        return False
    return True


def print_session() -> None:
    """The first mail of the page, for people."""
    done = subprocess.run(
        [*NAMESPACES, sys.executable, __file__, "first mail"],
        env={"PATH": PATHS, "LANG": "C.UTF-8"}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    print("$ telnet localhost 25", *found["happened"], "", *found["log"], sep="\n")


def main() -> None:
    if sys.argv[1:] == ["session"]:
        print_session()
        return
    enter()
    case, *arguments = sys.argv[1:]
    found = CASES[case](*arguments)
    print(json.dumps(found))


CASES: dict[str, Callable[..., dict[str, object]]] = {
    "install": lambda: install(Log()),
    "nowait": lambda server: served(server, waiting=False),
    "wait": lambda server: served(server, waiting=True),
    "delivered": delivered,
    "first mail": first_mail,
    "looked after": looked_after,
    "upgraded": upgraded,
    "cron": cron,
    "units": units,
    "stormed": stormed,
}

if __name__ == "__main__":
    main()
