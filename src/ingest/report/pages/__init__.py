"""Pages to look at: one HTML file each, with its data, charts and scripts in it, that asks no server and no network."""
