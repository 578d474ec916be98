"""From what strace wrote of real programs to a `history.History`: any executable, in any language."""
