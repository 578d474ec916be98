"""Style as a test: import rules, sizes, the glossary, and that rules, cases and promises agree."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "reference/smap_reference"
SIMULATOR = ROOT / "simulator/smap_simulator"
CONFORMANCE = ROOT / "conformance/smap_conformance"
PACKAGES = {"smap_reference": REFERENCE, "smap_simulator": SIMULATOR, "smap_conformance": CONFORMANCE}

# What touches the machine. `errno` is only numbers, and open to everybody; `time` is not: the clock is on the seam.
MACHINE = {
    "os", "socket", "_socket", "fcntl", "signal", "_signal", "subprocess", "syslog", "pwd", "grp", "select", "time",
    "posix", "ctypes", "pathlib", "shutil", "tempfile", "random", "threading", "multiprocessing",
}  # fmt: skip

MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
# The manual pages are docstrings, and are not counted; a module may be longer for a reason written here.
LONGER_MODULES: dict[str, str] = {}

FORBIDDEN_WORDS = {"response", "queue", "handler", "manager", "payload", "utils", "helpers", "common"}
# Names that are not ours to choose.
FOREIGN_NAMES = {
    "handler": "smtpdfix and aiosmtpd call it so",
}


def modules(*roots: Path) -> list[Path]:
    return sorted(path for root in roots for path in root.rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


EVERY_MODULE = modules(*PACKAGES.values(), ROOT / "tests", ROOT / "bench", ROOT / "docs")
SHIPPED = modules(*PACKAGES.values())


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of everything a module imports, inside functions too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def is_package(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


@pytest.mark.parametrize("path", modules(REFERENCE), ids=name_of)
def test_the_reference_imports_the_standard_library_only(path: Path) -> None:
    foreign = [(line, name) for line, name in imports(path) if name.partition(".")[0] not in sys.stdlib_module_names]
    assert not foreign


@pytest.mark.parametrize("path", modules(REFERENCE), ids=name_of)
def test_only_posix_touches_the_machine(path: Path) -> None:
    if "posix" in path.relative_to(REFERENCE).parts or path.name == "__main__.py":  # the installer is no part of them
        pytest.xfail("this is the door")  # strict: a posix module that touched nothing would be in the wrong place
    touched = [(line, name) for line, name in imports(path) if name.partition(".")[0] in MACHINE]
    assert not touched


@pytest.mark.parametrize("path", modules(SIMULATOR), ids=name_of)
def test_the_simulator_knows_only_the_seam(path: Path) -> None:
    wrong = [
        (line, name)
        for line, name in imports(path)
        if is_package(name, "smap_conformance")
        or (is_package(name, "smap_reference") and not is_package(name, "smap_reference.system"))
    ]
    assert not wrong


@pytest.mark.parametrize("path", modules(CONFORMANCE), ids=name_of)
def test_conformance_never_imports_the_reference(path: Path) -> None:
    assert not [(line, name) for line, name in imports(path) if is_package(name, "smap_reference")]


def code_lines(node: ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, last: int) -> int:
    """Lines without the docstring, which may be a manual page."""
    first = node.body[0] if node.body else None
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    docstring = (first.end_lineno or 0) - first.lineno + 1 if first is not None and is_docstring else 0
    start = getattr(node, "lineno", 1)
    return last - start + 1 - docstring


@pytest.mark.parametrize("path", EVERY_MODULE, ids=name_of)
def test_modules_and_functions_are_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    long = [
        f"{node.name} at line {node.lineno}"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and code_lines(node, node.end_lineno or 0) > FUNCTION_LINES_MAX
    ]
    assert not long, f"functions of over {FUNCTION_LINES_MAX} lines"
    if name_of(path) not in LONGER_MODULES:
        assert code_lines(tree, text.count("\n")) <= MODULE_LINES_MAX


@pytest.mark.parametrize("path", SHIPPED, ids=name_of)
def test_modules_and_public_functions_state_their_contract(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "the module has no docstring"
    if "suite" in path.parts:
        return
    silent = [
        f"{node.name} at line {node.lineno}"
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
        and not _is_obvious(node)
    ]
    assert not silent


def _is_obvious(node: ast.FunctionDef | ast.ClassDef) -> bool:
    """A Protocol of three calls, a one-line predicate or `main`: the name is the contract."""
    return node.name == "main" or code_lines(node, node.end_lineno or 0) <= 8


def identifiers(path: Path) -> Iterator[tuple[int, str]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name):
            yield node.lineno, node.id


@pytest.mark.parametrize("path", EVERY_MODULE, ids=name_of)
def test_names_are_of_the_glossary(path: Path) -> None:
    assert path.stem not in FORBIDDEN_WORDS
    wrong = [
        (line, name)
        for line, name in identifiers(path)
        if set(re.findall(r"[a-z]+", re.sub(r"([A-Z])", r"_\1", name).lower())) & (FORBIDDEN_WORDS - set(FOREIGN_NAMES))
    ]
    assert not wrong


# A mailer has a queue of its own, and so has the kernel; we have a spool directory.
QUEUE_OF_OTHERS = re.compile(
    r"(mailer|mailers|its own|their own|sendmail|postfix|exim|dma|kernel)('s|')? queue"
    r"|queue (of|full|runner|run|not|is)",
    re.IGNORECASE,
)
FORBIDDEN_IN_PROSE = re.compile(r"\b(payload|queue|handler|response)s?\b", re.IGNORECASE)
ABOUT_OTHERS = {"mailers.md"}  # a page about the queues of mailers


@pytest.mark.parametrize("path", sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").glob("*.md")), ids=name_of)
def test_prose_uses_one_word_for_one_thing(path: Path) -> None:
    wrong = [
        (number, found.group())
        for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for found in FORBIDDEN_IN_PROSE.finditer(QUEUE_OF_OTHERS.sub("", re.sub(r"`[^`]*`", "", text)))
        if not (path.name in ABOUT_OTHERS and "queue" in found.group().lower())
    ]
    assert not wrong


def test_the_architecture_names_every_module() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    for package, folder in PACKAGES.items():
        section = text.partition(f"/{package}\n\n")[2].partition("\n## ")[0]
        named = set(re.findall(r"`(\w+)`", section))
        there = {path.stem for path in modules(folder) if path.stem[0] != "_" and "suite" not in path.parts}
        assert sorted(there - named) == [], f"{package}: modules without a line in ARCHITECTURE.md"
        tables = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\|([^|]*)\|", section, re.MULTILINE))))
        assert sorted(tables - {name for path in modules(folder) for name in (path.stem, path.parent.name)}) == [], (
            package
        )


# Rules, cases and promises

CATALOGUE = tomllib.loads((CONFORMANCE / "requirements.toml").read_text(encoding="utf-8"))["rule"]


def cases_by_rule() -> dict[str, list[str]]:
    """The cases of the suite, by the rule ids of their `rule` marks; read from the source, so nothing need run."""
    found: dict[str, list[str]] = {}
    for path in modules(CONFORMANCE / "suite"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "rule":
                for argument in node.args:
                    assert isinstance(argument, ast.Constant), f"{path.name}:{node.lineno}: write the rule id out"
                    found.setdefault(str(argument.value), []).append(f"{path.name}:{node.lineno}")
    return found


def test_each_case_names_rules_of_the_catalogue() -> None:
    assert sorted(set(cases_by_rule()) - set(CATALOGUE)) == []


def test_each_rule_has_a_case_or_a_reason() -> None:
    cases = cases_by_rule()
    assert sorted(rule for rule, row in CATALOGUE.items() if "tested" in row and rule not in cases) == []
    assert sorted(rule for rule, row in CATALOGUE.items() if "untested" in row and rule in cases) == []


def test_each_fsync_of_the_reference_names_its_guarantee() -> None:
    guarantees = set(re.findall(r"^\| (G\d) ", (ROOT / "SPOOL.md").read_text(encoding="utf-8"), re.MULTILINE))
    assert guarantees
    bought = set()
    for number, text in enumerate((REFERENCE / "spool.py").read_text(encoding="utf-8").splitlines(), 1):
        if not re.search(r"self\._disk\.fsync\(|^ +sync_directory\(", text):
            continue
        named = set(re.findall(r"\bG\d\b", text.partition("#")[2]))
        assert named, f"spool.py:{number}: which guarantee does this buy?"
        assert named <= guarantees, f"spool.py:{number}: SPOOL.md knows no such guarantee"
        bought |= named
    assert bought == guarantees - {"G6"}  # the one that a flag of rename buys


def test_nothing_but_spool_changes_a_spool_file() -> None:
    changing = re.compile(r"\.(fsync|fchmod|unlink|rename|write)\(")
    for path in modules(REFERENCE):
        if path.name in ("spool.py", "machine.py", "system.py", "syslog.py", "__main__.py"):
            continue
        found = [text for text in path.read_text(encoding="utf-8").splitlines() if changing.search(text)]
        assert [text for text in found if "_gathering.write(" not in text] == []


def test_the_repository_names_no_private_place() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout: an unpacked archive holds what was checked before")
    private = re.compile(r"/work/|\.\./shared|/tmp/lab|" + "farm" + "-bench")
    wrong = []
    for name in listed.stdout.split():
        path = ROOT / name
        if path.suffix in (".py", ".md", ".toml", ".ini", ".cfg", "") and path.is_file() and path != Path(__file__):
            wrong += [name for text in path.read_text(encoding="utf-8").splitlines() if private.search(text)]
    assert not wrong
