"""The teeth of the suite: broken variants of the reference, each to be killed by the rule that it breaks.

`mutant` is what one is, `table` holds them all, `trial` tries one, `matrix` is what came of all of them.
"""
