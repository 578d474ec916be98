"""What a run left in its directory, read for a report: the results, and what lies in the folders of failing cases."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from smap_conformance import results

ARTEFACT_BYTES_MAX = 4 * 1024 * 1024


class ReportError(Exception):
    """A directory of which no report can be made, in one line."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One implementation, judged. `plain` is results.json as it stands there, `run` the same as values."""

    name: str
    directory: Path
    run: results.Run
    plain: Mapping[str, Any] = field(default_factory=dict)

    def case(self, name: str) -> Mapping[str, Any]:
        """One case as it stands in results.json."""
        return next(dict(case) for case in self.plain["cases"] if case["case"] == name)

    def artefacts(self, case: str) -> dict[str, str]:
        """The artefacts of one case by name, those of its folder and those of results.json."""
        found: dict[str, str] = {}
        folder = self.directory / "cases" / results.folder_name(case)
        if folder.is_dir():
            for path in sorted(folder.iterdir()):
                if path.is_file() and path.name != "failure.txt":
                    with path.open("rb") as file:
                        data = file.read(ARTEFACT_BYTES_MAX)
                    found[path.name.removesuffix(".txt")] = data.decode(errors="backslashreplace").rstrip("\n")
        told = next((one.artefacts for one in self.run.cases if one.case == case), {})
        return {**found, **told}


def read(directories: Iterable[Path]) -> list[Judged]:
    """One for each directory, each with a name of its own. ReportError names the directory that holds no results."""
    found: list[Judged] = []
    for directory in directories:
        judged = _read(directory)
        taken = {one.name for one in found}
        name, number = judged.name, 2
        while name in taken:
            name, number = f"{judged.name} ({number})", number + 1
        found.append(replace(judged, name=name))
    return found


def _read(directory: Path) -> Judged:
    try:
        run = results.read(directory)
        plain = json.loads((directory / "results.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ReportError(f"{directory}: no results.json there: `smaplab run --report DIR` writes one") from None
    except OSError as error:
        raise ReportError(f"{directory}/results.json: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        told = (
            str(error) if str(directory) in str(error) else f"{directory}/results.json: {type(error).__name__}: {error}"
        )
        raise ReportError(f"{told.splitlines()[0]}: not written by this smaplab's `run`") from None
    return Judged(name_of(plain), directory, run, plain)


def name_of(plain: Mapping[str, Any]) -> str:
    """An implementation's name and version, or what the run called its target."""
    told = plain.get("implementation")
    if isinstance(told, Mapping) and told.get("name"):
        return " ".join(str(told[key]) for key in ("name", "version") if told.get(key))
    return str(plain["target"])
