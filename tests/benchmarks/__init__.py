"""What is measured rather than proved: ``python -m tests.benchmarks.dns``."""
