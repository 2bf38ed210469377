"""What hostile clients can do to the people beside them, as ratios: `make abuse`."""
