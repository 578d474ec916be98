"""Draw docs/teeth.md from the kill matrix that ships with the suite: `python docs/draw_teeth.py`."""

from pathlib import Path

from smap_conformance import catalogue
from smap_conformance.catalogue import Level
from smap_conformance.mutants import matrix
from smap_conformance.mutants.simulated import REFERENCE_ONLY
from smap_conformance.mutants.table import WITHOUT_A_MUTANT

PAGE = Path(__file__).resolve().parent / "teeth.md"
HEAD = """\
# The teeth of the suite

Drawn from `conformance/smap_conformance/kill_matrix.json` by `docs/draw_teeth.py`.

A suite that has never failed anything proves nothing. So the reference is broken on purpose, one snippet at a time, and
`smaplab mutants --black-box` runs the suite's own cases against each broken pair, as against anybody's programs: each
must be found by the rule that it breaks, in words that tell the reason. With `--precision` a sample of the rest is run
too, and a MUST rule that fails without having been declared a consequence fails the run.

    smaplab mutants --black-box                      all of them (tox -e teeth); status 1 where one lives
    smaplab mutants --black-box no-chroot            one, and what was said about it
    smaplab mutants --black-box --precision --json conformance/smap_conformance/kill_matrix.json

A test holds that every MUST rule with a case kills one at least, and that each snippet is in the reference exactly
once, so that no mutant outlives the code it was made for.
"""


def page() -> str:
    """The whole page."""
    rows = matrix.read()
    rules = catalogue.rules()
    killing = matrix.killers(rows)
    must = sum(rules[name].level is Level.MUST for name in killing)
    looked = [row for row in rows if row.unrelated is not None]
    told = f"{len(rows)} mutants, all killed, by {must} MUST rules and {len(killing) - must} others."
    if looked:
        told += f" {len(looked)} of them were tried with `--precision`, and fail no MUST rule that is not named below."
    table = list(matrix.as_markdown(rows, rules, WITHOUT_A_MUTANT))
    notes = [f"- `{name}` of the simulator is no black box's: {why}." for name, why in REFERENCE_ONLY.items()]
    return "\n".join([HEAD, told, "", *table, "", *notes, ""])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
