"""The rules of rooms, pure: whoever calls gives the time; nothing here does I/O or asks a clock."""
