"""cutover.toml: what moves from where to where, whom to ask, and how to reach it."""
