"""What people read: status, quarantine, verification. May not write to lake or warehouse."""
