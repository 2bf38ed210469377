"""What `relayctl doctor` looks at: this machine, the running relayd, and the way that clients take to it."""
