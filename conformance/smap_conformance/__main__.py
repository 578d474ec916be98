"""`python -m smap_conformance` is `smaplab`."""

from smap_conformance.cli import main

main()
