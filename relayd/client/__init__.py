"""The Python client library: REST, the chat stream, sealing. Of the rest it imports `relayd.wire` only."""
