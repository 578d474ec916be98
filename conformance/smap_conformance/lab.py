"""One test-running process's laboratory: the sandbox, the target in it, and the places where cases happen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smap_conformance.expect import Miss, Overdue
from smap_conformance.patience import OVERDUE_MAX, Patience
from smap_conformance.place import Place, Shape
from smap_conformance.reach import obstacle
from smap_conformance.sandbox import Sandbox
from smap_conformance.target import Target, TargetError, interpreter_paths, reference
from smap_conformance.users import User
from smap_conformance.view import NETPERM_PATH


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line says about a run."""

    target: Target | None  # None: the reference
    user: User
    timeout_scale: float = 1.0
    isolate: bool = True

    @property
    def needed(self) -> list[Path]:
        """What the unprivileged user must be able to reach."""
        return [*interpreter_paths(), *(self.target.needs if self.target else ())]

    def out_of_reach(self) -> str:
        """Where nothing can be done about it (no mount namespace): what the user of the programs cannot reach."""
        for wanted in self.needed:
            closed = obstacle(wanted, self.user) if wanted.exists() else None
            if closed is not None:
                return (
                    f"user {self.user.name} may not enter {closed}, on the way to {wanted}, and without a mount "
                    f"namespace nothing can be put in its place: leave --no-isolation out, chmod o+x {closed}, "
                    "or name the owner with --user"
                )
        return ""


class Lab:
    """Opened once for each pytest session or worker; `place()` for each case or example."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.patience = Patience(settings.timeout_scale)
        self._number = 0
        self._open: list[Place] = []
        self._last_scene: dict[str, str] = {}
        self.sanity_miss: Miss | None = None
        self.sanity_done = False
        told = settings.target.netperm_path if settings.target else str(NETPERM_PATH)
        table_path = Path(told) if told else None
        self.sandbox = Sandbox(settings.user, settings.needed, isolate=settings.isolate, table_path=table_path)
        try:
            self._check_reach()
            self.target = settings.target or self._make_reference()
        except BaseException:
            self.sandbox.close()
            raise

    def _check_reach(self) -> None:
        """Nothing would be learned of programs that their user cannot even reach."""
        means = self.sandbox.means
        closed = self.settings.out_of_reach() if means.user_change and not means.namespaces else ""
        if closed:
            raise TargetError(closed)

    def _make_reference(self) -> Target:
        directory = self.sandbox.work / "reference"
        directory.mkdir(mode=0o755)
        return reference(directory)

    @property
    def scale(self) -> float:
        """Every bound is multiplied by this."""
        return self.patience.scale

    def place(self, **shape: Any) -> Place:
        """A new place (`Shape` has the options); use it in a `with` statement."""
        self._number += 1
        shape.setdefault("mode", self.target.modes[0])
        place = Place(self, self._number, Shape(**shape))
        self._open.append(place)
        return place

    def closing(self, place: Place, failed: bool) -> None:
        """A place is about to close: keep its scene when it closes for a failure."""
        if failed:
            self._last_scene = place.describe()
        if place in self._open:
            self._open.remove(place)

    def begin_case(self) -> None:
        """Forget the scene of the last failure."""
        self._last_scene = {}

    def scene(self) -> dict[str, str]:
        """What the failing place looked like (file name → text)."""
        described = [place.describe() for place in self._open if place.root.exists()]
        return described[-1] if described else self._last_scene

    def sanity(self, deliver: Callable[[Place], None]) -> Miss | None:
        """The first sanity delivery, once for each process: None when mail gets through."""
        if not self.sanity_done:
            self.sanity_miss = self.try_delivery(deliver)
            self.sanity_done = True  # not when the machine has no means for it
            if isinstance(self.sanity_miss, Overdue):
                self.patience.overdue = OVERDUE_MAX + 1
        return self.sanity_miss

    def try_delivery(self, deliver: Callable[[Place], None]) -> Miss | None:
        """One delivery in a place of its own; the Miss if the target failed it."""
        try:
            with self.place() as place:
                deliver(place)
        except Miss as miss:
            return miss
        return None

    def close(self) -> None:
        """Leave nothing behind."""
        self.sandbox.close()
