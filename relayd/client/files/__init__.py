"""Sending and receiving files: names made safe, what is read and written, offers, and both ends of a transfer."""
