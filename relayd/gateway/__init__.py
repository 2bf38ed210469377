"""The gateway: clients' HTTP and WebSockets on one side, the bus on the other. It knows nothing of SQLite."""
