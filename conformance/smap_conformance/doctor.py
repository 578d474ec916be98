"""What this machine lets a run do, what cannot be checked without each means, and how to get what is missing."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from smap_conformance import offspring, running, sandbox, tracing
from smap_conformance.users import user_for_targets

# Programs, the Debian package of each, and what is lost without it.
PROGRAMS = {
    "unshare": ("util-linux", "a run that is killed may leave processes behind"),
    "inetd": ("openbsd-inetd", "OPS-01: no real inetd that hands smap its socket"),
}
MAILERS = ("msmtp", "esmtp")  # those that need no daemon, with the package of the same name


@dataclass(frozen=True, slots=True)
class Finding:
    """One means: whether (or in what form) it is here, and what is lost without it."""

    name: str
    here: bool | str
    lost: str


def findings(means: sandbox.Means, own_pids: bool, traces: bool) -> list[Finding]:
    """Every means, in the order of weight. `traces`: strace is here and may trace."""
    programs = [Finding(name, bool(find(name)), lost) for name, (_, lost) in PROGRAMS.items()]
    return [
        Finding("chroot", means.chroot, "no smap can run: only what smapd does without a message is measured"),
        Finding(
            "change of user (root)", means.user_change, "PRIV-02, PRIV-03, PRIV-05: nothing to drop is not dropped"
        ),
        Finding(
            "mount namespaces",
            means.namespaces or False,
            "no table at a compiled-in path: [netperm] environment or argument",
        ),
        Finding("small disks (tmpfs)", means.tmpfs, "FAULT-01 and FAULT-02: no disk that is full"),
        Finding("strace", traces, "no recordings, and no faults in single calls: CRASH, and parts of GATHER and FAULT"),
        Finding("log at /dev/log", means.log, "OPS-02, and what other rules say about log lines"),
        Finding("PID namespace", own_pids, "a run that is killed may leave processes behind"),
        Finding("lists of children in /proc", offspring.KERNEL_LISTS_CHILDREN, "nothing: slower ways are used"),
        *programs,
        Finding(
            "real mailers", ", ".join(filter(find, MAILERS)) or False, "OPS-03: no real mailer behind smapd, only ours"
        ),
        Finding("FUSE (/dev/fuse)", os.access("/dev/fuse", os.W_OK), "nothing: no case needs it"),
        Finding("loop devices", os.access("/dev/loop-control", os.W_OK), "nothing: no case needs them"),
    ]


def find(program: str) -> str | None:
    """A program, in the daemons' places too, which a plain user's PATH lacks."""
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def examine(console: Console) -> None:
    """Print the findings and the mends. LookupError when there is no user to run a target as."""
    user = user_for_targets()
    own_pids = running.in_own_pid_namespace(["true"]) != ["true"]  # before the sandbox: it gives rights away
    box = sandbox.Sandbox(user)
    try:
        untraced = tracing.obstacle(box)
    finally:
        box.close()
    table = Table(box=None, pad_edge=False)
    for heading in ("means", "here", "without it"):
        table.add_column(heading, overflow="fold")
    for finding in findings(box.means, own_pids, not untraced):
        shown = finding.here if isinstance(finding.here, str) else ("yes" if finding.here else "no")
        table.add_row(
            finding.name, Text(shown, "green" if finding.here else "yellow"), "" if finding.here else finding.lost
        )
    console.print(table)
    for reason in (*box.means.reasons, *([untraced] if untraced else [])):
        console.print(Text(f"because: {reason}", "yellow"), soft_wrap=True)
    console.print(f"targets run as {user.name} (uid {user.uid})")
    packages = {name: package for name, (package, _) in PROGRAMS.items()} | {"strace": "strace"}
    packages |= {} if any(map(find, MAILERS)) else {MAILERS[0]: MAILERS[0]}
    if missing := [package for name, package in packages.items() if not find(name)]:
        console.print(f"to install what is missing: apt-get install {' '.join(missing)}", style="bold", soft_wrap=True)
    if not box.means.namespaces:
        console.print(Text(f"to measure the rest: {mend()}"), soft_wrap=True)


def mend() -> str:
    """How to get namespaces here."""
    if os.geteuid() == 0:
        return "a container needs --cap-add SYS_ADMIN --security-opt apparmor=unconfined, or use a virtual machine"
    return (
        "run as root, or let root set `sysctl user.max_user_namespaces=10000`"
        " (Debian before 11 also kernel.unprivileged_userns_clone=1,"
        " Ubuntu since 24.04 also kernel.apparmor_restrict_unprivileged_userns=0)"
    )
