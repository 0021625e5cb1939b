"""One question to everybody: what ``mxcutover dns`` asks, holds together, judges and shows.

``question`` reads what a person typed, ``said`` and ``known`` keep what servers said, ``judge`` makes a
``picture`` of it (pure functions of what is known and a time), ``page`` and ``document`` show that.
``survey``, ``following`` and ``running`` do the asking.
"""
