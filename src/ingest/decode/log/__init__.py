"""One file per kind of self-report."""
