"""What came in: settled, hashed, whose. May not look inside a file beyond unpacking it."""
