"""Sealed rooms from the client's side, one module an idea; `relayd.client.sealing` gathers them."""
