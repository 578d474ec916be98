"""The one door to the machine: `system` on a real kernel, and how the two programs start.

Strategy: nothing outside this package imports os, sockets, signals or locks. Start-up is part of the interface
(inetd starts a smap for each client), so the modules are the C ones that the interpreter brings along (_socket,
_signal), whose Python wrappers cost more than everything smap does before its greeting; DECISIONS.md has the figures.
"""


def smap_main() -> None:
    """The program smap. Does not return."""
    from .receiving import main  # noqa: PLC0415 - smapd does not need it, and inetd waits for smap

    main()


def smapd_main() -> None:
    """The program smapd. Does not return."""
    from .delivering import main  # noqa: PLC0415

    main()
