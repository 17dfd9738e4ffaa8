"""Immutable Parquet, and the manifest that commits it. May not change a row."""
