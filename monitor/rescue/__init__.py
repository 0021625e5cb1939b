"""Copying to new what old took after the change and new lacks: once, verified, the old copy untouched."""
