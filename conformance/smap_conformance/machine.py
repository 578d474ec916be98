"""What a run was made on, for results.json: the versions that matter, and no name of the machine or its users."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from smap_conformance import sandbox
from smap_conformance.lab import Settings


def means(found: sandbox.Means) -> dict[str, Any]:
    """What the lab could do, as plain values."""
    return {**asdict(found), "reasons": list(found.reasons)}


def environment(settings: Settings, found: Mapping[str, Any], workers: Sequence[str] | None) -> dict[str, Any]:
    """Everything about the machine that a verdict may depend on."""
    return {
        "smaplab": _smaplab(),
        "system": platform.system(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "strace": _strace(),
        "user": settings.user.name if found.get("root") else "",  # a plain user's name is nobody's business
        "workers": max(1, len(workers or ())),
        "timeout_scale": settings.timeout_scale,
        "means": dict(found),
    }


def _smaplab() -> str:
    try:
        return version("smaplab")
    except PackageNotFoundError:
        return ""


def _strace() -> str:
    """The version of strace; "" where there is none."""
    program = shutil.which("strace")
    if program is None:
        return ""
    said = subprocess.run([program, "-V"], capture_output=True, text=True, check=False, timeout=60).stdout
    found = re.search(r"version (\S+)", said)
    return found.group(1) if found else "unknown"
