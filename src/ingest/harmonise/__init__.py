"""Clocks into instants, refs into pseudonyms, plausibility. May not choose between records."""
