"""The `smaplab` command: builds a pytest line, prints it, runs it, and says what it found.

Exit status: 0 conformant, 1 a rule is broken, 2 usage, 3 the harness failed or nothing was measured.
"""

from __future__ import annotations

import sys

MISSING = "smaplab needs its `lab` extra ({name} is not installed): pip install 'smaplab[lab]'"


def main() -> None:
    """Entry point; without the `lab` extra, one clear line."""
    try:
        from smap_conformance.commands import smaplab  # noqa: PLC0415 - it needs what may not be installed
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("smap_"):
            raise
        sys.stderr.write(MISSING.format(name=error.name) + "\n")
        sys.exit(2)
    smaplab(prog_name="smaplab")
