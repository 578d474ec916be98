"""The rules as pytest cases, one file per chapter of the catalogue."""
