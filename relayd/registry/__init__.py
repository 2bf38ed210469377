"""Room metadata in in-memory SQLite."""
