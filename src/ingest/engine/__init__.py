"""Where decoding and the building of nights run: in this process, or on Spark."""
