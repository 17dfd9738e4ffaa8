"""The warehouse: a copy of lake and marts that analysts open. May not compute."""
