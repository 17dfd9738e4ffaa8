"""One file per wearable."""
