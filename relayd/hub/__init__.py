"""The hub: the one owner of all rooms. It knows the bus and the registry, and nothing of clients' sockets."""
