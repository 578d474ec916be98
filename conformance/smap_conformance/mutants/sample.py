"""A sample of the suite, for the precision of a kill: for each MUST rule one case or two that are soon done."""

from __future__ import annotations

SAMPLE: tuple[str, ...] = ("sanity::test_a_mail_goes_in_and_comes_out_unchanged",)
