"""The `smaplab` command: builds a pytest line, prints it, runs it, and says what it found.

Exit status: 0 conformant, 1 a rule is broken, 2 usage, 3 the harness failed or nothing was measured, 130 interrupted.
"""

from __future__ import annotations

import sys

MISSING = "smaplab needs its `lab` extra ({name} is not installed): pip install 'smaplab[lab]'"


def main() -> None:
    """Entry point; without the `lab` extra, one clear line."""
    try:
        import click  # noqa: PLC0415 - it may not be installed

        from smap_conformance.commands import smaplab  # noqa: PLC0415 - it needs what may not be installed
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("smap_"):
            raise
        sys.stderr.write(MISSING.format(name=error.name) + "\n")
        sys.exit(2)
    try:
        sys.exit(smaplab.main(prog_name="smaplab", standalone_mode=False) or 0)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:  # one line is enough to mend a command line
        hint = f" (`{error.ctx.command_path} --help`)" if isinstance(error, click.UsageError) and error.ctx else ""
        sys.stderr.write(f"smaplab: {error.format_message()}{hint}\n")
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        sys.stderr.write("smaplab: interrupted\n")
        sys.exit(130)
