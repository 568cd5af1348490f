"""Benchmarks: `make bench`, or `python -m tests.bench cli engine`. Results go into docs/benchmarks.md by hand, with
the machine and the versions. Machines are noisy: CPU time rather than wall time where it tells the same, the least of
several runs, and a ratio to something measured in the same run."""
