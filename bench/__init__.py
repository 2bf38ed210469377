"""The benchmark suite: relayd, its peers and the C limit, at the same work one after the other."""
