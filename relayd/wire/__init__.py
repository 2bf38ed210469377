"""The protocol, pure: identifiers and keys, commands, events, frames, REST bodies. No I/O, no clock."""
