"""What sockets say in one turn of the loop leaves as one batch, in order, and waits where it must."""

from __future__ import annotations

import asyncio

from relayd.bus.messages import Batch, Gone
from relayd.gateway.publisher import Publisher

TOPIC = b"g" * 16


class Hub:
    """Takes batches, or does not."""

    def __init__(self) -> None:
        self.takes = True
        self.asked = 0
        self.batches: list[Batch] = []

    def tell(self, batch: Batch) -> bool:
        self.asked += 1
        if self.takes:
            self.batches.append(batch)
        return self.takes


async def test_one_batch_a_turn():
    hub = Hub()
    publisher = Publisher(TOPIC, hub.tell)
    for number in range(3):
        publisher.add(Gone(number))
    assert hub.batches == []
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert hub.batches == [Batch(TOPIC, [Gone(0), Gone(1), Gone(2)])]
    publisher.add(Gone(3))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert hub.batches[1:] == [Batch(TOPIC, [Gone(3)])]


async def test_silence_sends_nothing():
    hub = Hub()
    Publisher(TOPIC, hub.tell)
    await asyncio.sleep(0.05)
    assert hub.asked == 0


async def test_hub_that_is_behind_is_asked_again():
    """Nothing is lost or overtaken, and what comes meanwhile makes no further tries."""
    hub = Hub()
    hub.takes = False
    publisher = Publisher(TOPIC, hub.tell)
    for number in range(10):
        publisher.add(Gone(number))
        await asyncio.sleep(0.005)
    assert 1 <= hub.asked <= 6
    hub.takes = True
    async with asyncio.timeout(5):
        while not hub.batches:
            await asyncio.sleep(0.005)
    assert hub.batches == [Batch(TOPIC, [Gone(number) for number in range(10)])]
    publisher.add(Gone(10))
    await asyncio.sleep(0.01)
    assert hub.batches[1:] == [Batch(TOPIC, [Gone(10)])]
