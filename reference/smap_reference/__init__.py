"""The reference smap and smapd: standard library only, one noun of the trade per module."""
