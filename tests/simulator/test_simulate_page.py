"""docs/simulate.md says what the simulator finds, and no fsync of the reference is without its trial."""

from simulate_page import FSYNCS, PAGE, drawn, held
from smap_simulator.mutants import named
from smap_simulator.programs import reference_directory


def test_the_table_of_the_page_is_what_is_found() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == drawn(page), "draw it again: python tests/simulator/simulate_page.py"


def test_each_fsync_is_needed_under_some_model_and_strict_posix_needs_them_all() -> None:
    for mutant in FSYNCS.values():
        assert {"strict-posix", "ext2"} & set(held(mutant).models), mutant


def test_each_fsync_of_the_source_has_its_row() -> None:
    calls = [
        (path.stem, line.strip())
        for path in sorted(reference_directory().glob("*.py"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.strip().startswith(("self._disk.fsync(", "sync_directory("))
    ]
    removed = [(named(mutant).module, named(mutant).snippet.strip()) for mutant in FSYNCS.values()]
    assert sorted(removed) == sorted((module, next(cut for _, cut in removed if cut in line)) for module, line in calls)
