"""Rooms and connections outlive the process, where systemd keeps what it is given."""

from tests.service.nested import SERVICE
from tests.service.test_service import join, restarted


async def back(service, room, session, since=0):
    """Somebody who comes back; the frame that says so."""
    return await join(service, room, session=session, since={"epoch": room["epoch"], "seq": since})


async def test_rooms_go_on(service):
    """Over restart and kill -9; stop forgets them."""
    room = service.relayctl("create", "room")
    ann = await join(service, room)
    room["epoch"], session = ann.joined["epoch"], ann.session
    for seq, end in enumerate((lambda: service.systemctl("restart", SERVICE), None), 1):
        await ann.say(str(seq))
        await ann.until("message", id=str(seq))
        before = service.main_pid
        if end is None:
            service.signal("KILL", before)
        else:
            end()
        restarted(service, before)
        assert "going on with 1 rooms" in service.journal()
        before_ann, ann = ann, await back(service, room, session, seq - 1)
        assert (ann.joined["recovered"], ann.joined["missed"], ann.joined["seq"]) == (True, 0, seq)
        assert (await ann.until("message"))["id"] == str(seq)
        await before_ann.socket.close()
    service.systemctl("stop", SERVICE)
    await ann.socket.close()
    service.systemctl("start", SERVICE)
    assert service.relayctl("status")["rooms"] == 0
