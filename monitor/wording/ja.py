"""The Japanese catalogue."""

CATALOGUE: dict[str, str] = {}
