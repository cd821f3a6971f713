"""Changes as they happen, for all who listen."""
