"""Running pytest for `smaplab run`: in a PID namespace of its own where there is one, with a progress bar."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from smap_conformance import namespace

TIDY_UP_S = 30.0  # for pytest to leave nothing behind after an interrupt


def in_own_pid_namespace(line: Sequence[str]) -> list[str]:
    """The line inside a PID namespace, so that its end, even by SIGKILL, is the end of all it started."""
    unshare = shutil.which("unshare")
    user = [] if os.geteuid() == 0 else ["--user", "--map-current-user", "--keep-caps"]
    if unshare is None:
        return list(line)
    wrapper = [unshare, *user, "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]
    tried = subprocess.run([*wrapper, "true"], capture_output=True, check=False)
    return [*wrapper, *line] if tried.returncode == 0 else list(line)


def die_with(parent: int) -> Callable[[], None]:
    """What a child does before it executes its program, so that it does not outlive us even when we are killed.

    It hears interrupts, also where we do not (in the background of a script, under nohup).
    """

    def arrange() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        namespace.end_with_parent(signal.SIGKILL)
        if os.getppid() != parent:  # too late: the parent is gone already
            os._exit(1)

    return arrange


def conduct(line: Sequence[str], directory: Path) -> tuple[int, str]:
    """Run pytest and draw its progress; its status and what it printed (kept as pytest.txt in the report too)."""
    (directory / "results.json").unlink(missing_ok=True)
    transcript = directory / "pytest.txt"
    reading, writing = os.pipe()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"SMAPLAB_EVENTS": str(writing), "HYPOTHESIS_STORAGE_DIRECTORY": str(directory / "hypothesis")}
    with transcript.open("wb") as output, os.fdopen(reading, encoding="utf-8") as events:
        process = subprocess.Popen(
            in_own_pid_namespace(line),
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            pass_fds=[writing],
            env=environment,
            process_group=0,  # it gets no interrupt from a terminal: one, from us
            preexec_fn=die_with(os.getpid()),  # noqa: PLW1509 - we have one thread so far
        )
        os.close(writing)
        try:
            follow(events)
            status = process.wait()
        except BaseException:
            end(process)
            raise
    shutil.rmtree(directory / "hypothesis", ignore_errors=True)
    return status, transcript.read_text(encoding="utf-8", errors="backslashreplace")


def end(process: subprocess.Popen[bytes]) -> None:
    """After an interrupt: pass it on to pytest and its workers, let them tidy up, then end them."""
    with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt, ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=TIDY_UP_S)
    process.kill()
    process.wait()


def follow(events: IO[str]) -> None:
    """Draw the progress until the plugin hangs up."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("starting", total=None)
        for text in events:
            event = json.loads(text)
            if event["kind"] == "cases":
                progress.update(task, total=event["count"])
            else:
                progress.update(task, advance=1, description=f"{event['letter']} {event['case'][:48]:48}")
