"""Programs that are no smap or no smapd at all. `python tests/conformance/no_smap.py` runs the whole suite on each.

It prints verdict, exit status and seconds for each, and whether anything of it was left running.
"""

from __future__ import annotations

import shutil
import stat
import tempfile
import time
from pathlib import Path

from judged import Judged, install, judge

_PROGRAM = """\
#!/bin/sh
MARKER={marker}; export MARKER
{lines}
"""

# What stands in the place of smap: lines of shell, whose standard streams are the client.
SERVERS = {
    "ends at once": "exit 0",
    "fails at once": "exec /bin/false",
    "echoes": "exec /bin/cat",
    "never ends to talk": "exec yes",
    "never answers": "exec sleep 3600",
    "answers 250 to everything": "printf '220 hello\\r\\n'; while read -r line; do printf '250 fine\\r\\n'; done",
    "answers 554 to everything": "printf '554 go away\\r\\n'; while read -r line; do printf '554 no\\r\\n'; done",
    "greets, and is deaf": "trap '' TERM HUP INT PIPE; printf '220 hello\\r\\n'; while :; do sleep 1; done",
    "forks away": "printf '220 hello\\r\\n'; (trap '' TERM HUP; exec sleep 3600) & exit 0",
    "says 10 MB in one line": "head -c 10000000 /dev/zero | tr '\\0' x; exec sleep 3600",
    "greets with 10 MB of lines": "yes '220-hello\r' | head -c 10000000; exec sleep 3600",
    "greets, and says 10 MB more": "printf '220 hello\\r\\n'; yes '250-fine\r' | head -c 10000000; exec sleep 3600",
}
# What stands in the place of smapd.
DAEMONS = {
    "ends at once": "exit 0",
    "fails at once": "exec /bin/false",
    "reads": "exec /bin/cat",
    "does nothing, and is deaf": "trap '' TERM HUP INT; while :; do sleep 1; done",
    "forks away": "(trap '' TERM HUP; exec sleep 3600) & exit 0",
    "forks away twice": "(trap '' TERM HUP; setsid sleep 3600 & exec sleep 3600) & exit 0",
    "talks for ever": "exec yes",
    "says 10 MB": "head -c 10000000 /dev/zero; exec sleep 3600",
}
# Both at once, as they are installed.
PROGRAMS = ("/bin/cat", "/bin/false", "/bin/true", "/usr/bin/yes")


def program(path: Path, lines: str) -> Path:
    """A shell script that can be told from every other by its path."""
    path.write_text(_PROGRAM.format(marker=path, lines=lines), encoding="ascii")
    path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return path


def left_behind(directory: Path) -> list[str]:
    """Processes of whose command line or environment the directory is a part: every program here exports its path."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            try:
                text = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            except OSError:
                continue
            if str(directory).encode() in text:
                found.append(f"{process.name} {text[:200]!r}")
    return found


def show(name: str, directory: Path, smap: Path, smapd: Path) -> None:
    """The whole suite on one pair; a line of the table."""
    started = time.monotonic()
    judged: Judged = judge(directory, "--smap", smap, "--smapd", smapd, "-n", "auto")
    seconds = time.monotonic() - started
    left = f"{len(left_behind(directory))} left running"
    print(
        f"{name:42} {judged.status}  {seconds:6.1f} s  {left}  {judged.results.get('conclusion', '?')[:110]}",
        flush=True,
    )


def main() -> None:
    """The table."""
    with tempfile.TemporaryDirectory(prefix="smaplab-no-smap-") as where:
        root = Path(where)
        reference = install(root / "reference")
        for path in PROGRAMS:
            (root / "now").mkdir()
            found = Path(shutil.which(path) or path)
            show(f"{path} as both", root / "now", found, found)
            shutil.rmtree(root / "now")
        for kind, table in (("smap", SERVERS), ("smapd", DAEMONS)):
            for name, lines in table.items():
                (root / "now").mkdir()
                hostile = program(root / "now" / kind, lines)
                pair = (hostile, reference[1]) if kind == "smap" else (reference[0], hostile)
                show(f"a {kind} that {name}", root / "now", *pair)
                shutil.rmtree(root / "now")


if __name__ == "__main__":
    main()
