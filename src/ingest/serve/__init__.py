"""The study's pages for browsers: `ingest serve`. Reads, and changes nothing."""
