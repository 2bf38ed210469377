"""ZeroMQ between gateways and hub: what is said over it, and the sockets.

Three kinds of traffic. What sockets' clients say goes up as batches, PUSH to PULL. What they are to hear comes
down over PUB and SUB, by topic; also the answers to what was said on a socket, so that a client hears them at
their place among the room's messages. Calls that REST makes and waits for go over DEALER and ROUTER.
"""
