async def test_two_people_talk(relay):
    """The main job: a room is made, two join, each hears the other in one order."""
    room = await relay.create()
    ann = await relay.join(room, "ann", owner=True)
    bob = await relay.join(room, "bob")
    await ann.say("1", {"kind": "text", "text": "hi"})
    await bob.say("1", {"kind": "text", "text": "ho"})
    assert [(await peer.until("message"))["seq"] for peer in (ann, bob)] == [1, 1]
    assert [(await peer.until("message"))["body"]["text"] for peer in (ann, bob)] == ["ho", "ho"]
