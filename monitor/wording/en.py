"""The English catalogue."""

CATALOGUE: dict[str, str] = {}
