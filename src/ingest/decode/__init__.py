"""Vendor bytes into columns. May not know zones, participants or what other exports say."""
