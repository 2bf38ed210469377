"""The control API: HTTP on a Unix socket, for admins. The kernel says who asks."""
