"""The drawn parts of docs/durability.md. Run as a program it draws them again, into the page."""

from pathlib import Path

from smap_simulator.models import MODELS
from truth_table import models_table, seen_table

PAGE = Path(__file__).resolve().parents[2] / "docs/durability.md"


def models_page() -> list[str]:
    """Every model with its rules, as lines of Markdown."""
    lines = []
    for model in MODELS.values():
        lines += [
            f"### {model.name}",
            "",
            f"Stands for: {model.stands_for}.",
            "",
            "| rule | supported by |",
            "|---|---|",
        ]
        lines += [f"| {rule.sentence} | {' '.join(rule.rows)} |" for _, rule in model.rules()]
        lines.append("")
    return lines[:-1]


def drawn(page: str) -> str:
    """The page with its drawn parts as they should be."""
    for name, lines in (("seen", seen_table()), ("allowed", models_table()), ("models", models_page())):
        before, start, rest = page.partition(f"<!-- {name} -->")
        _, end, after = rest.partition("<!-- end -->")
        assert start
        assert end
        page = "\n".join([before + start, *lines, end + after])
    return page


if __name__ == "__main__":
    PAGE.write_text(drawn(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
