"""What the daemon needs of the machine it runs on: sockets, descriptors, processes, the service manager, the clock."""
