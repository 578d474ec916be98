"""The `smaplab` command: builds a pytest line, prints it, runs it, and says what it found.

Exit status: 0 conformant, 1 a rule is broken, 2 usage, 3 the harness failed or nothing was measured, 130 interrupted.
"""

from __future__ import annotations

import os
import signal
import sys

from smap_conformance import printed

MISSING = "smaplab needs its `lab` extra ({name} is not installed): pip install 'smaplab[lab]'"


def main() -> None:
    """Entry point; without the `lab` extra, one clear line."""
    printed.settle()
    for number in (signal.SIGTERM, signal.SIGHUP):  # however we are told to stop, nothing is left behind
        if signal.getsignal(number) is signal.SIG_DFL:  # but under nohup
            signal.signal(number, signal.default_int_handler)
    if os.environ.get("COLUMNS") == "0":  # some terminals say so before they have a size; it is no width to print in
        del os.environ["COLUMNS"]
    try:
        sys.exit(_status())
    except printed.UnprintableError as error:
        sys.stderr.write(f"smaplab: {error}\n")
        sys.exit(3)
    except KeyboardInterrupt:
        sys.stderr.write("smaplab: interrupted\n")
        sys.exit(130)


def _status() -> int:
    """Do what the command line says; the exit status."""
    try:
        import click  # noqa: PLC0415 - it may not be installed

        from smap_conformance.commands import smaplab  # noqa: PLC0415 - it needs what may not be installed
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("smap_"):
            raise
        sys.stderr.write(MISSING.format(name=error.name) + "\n")
        return 2
    try:
        status = smaplab.main(prog_name="smaplab", standalone_mode=False)
        sys.stdout.flush()
        return int(status or 0)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return 2
    except click.ClickException as error:  # one line is enough to mend a command line
        hint = f" (`{error.ctx.command_path} --help`)" if isinstance(error, click.UsageError) and error.ctx else ""
        sys.stderr.write(f"smaplab: {error.format_message()}{hint}\n")
        return 2
    except click.Abort:
        raise KeyboardInterrupt from None
