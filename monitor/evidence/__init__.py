"""The fold: observations in, what is known out. No clock, no I/O, no randomness."""
