"""The conformance suite: any smap and smapd, in any language, held against the rules."""
