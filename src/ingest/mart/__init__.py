"""Nights, choices, exposures: pure functions over the lake's rows. May not read vendors' files."""
