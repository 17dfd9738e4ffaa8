"""A synthetic study with a known truth, for `make demo`, tests and benchmarks. It imports `_core` only."""
