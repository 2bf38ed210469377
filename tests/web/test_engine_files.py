"""Files from page to page, and between page and Python client: whole, resumed, refused."""

from __future__ import annotations

from cutter import cutter_before, heard

from relayd.client import FileOffered, join
from relayd.wire.sealing_text import encode_base64url
from web.test_engine import BARE, READY, Engine, bare

# Bytes that look like nothing, the same each time: xorshift32.
MAKE = """([size, name, type, to]) => {
  const bytes = new Uint8Array(size);
  let x = 2463534242;
  for (let i = 0; i < size; i += 1) { x ^= x << 13; x ^= x >>> 17; x ^= x << 5; bytes[i] = x; }
  window.key = room.offerFile(new File([bytes], name, {type}), to ? {to} : {});
  return key;
}"""
SAME = """async (size) => {
  const bytes = new Uint8Array(await blobs.get(theirs().file.url).arrayBuffer());
  let x = 2463534242;
  let same = bytes.length === size;
  for (let i = 0; i < size; i += 1) { x ^= x << 13; x ^= x >>> 17; x ^= x << 5; same &&= bytes[i] === (x & 255); }
  return same;
}"""
THEIRS = "() => { window.theirs = () => room.state.lines.findLast(({file}) => file); }"
OFFERED = "(name) => until(() => theirs()?.file.name === name)"
ACCEPT = "() => room.accept(theirs().key)"


def phase(*wanted: str) -> str:
    return f"() => until(() => {list(wanted)}.includes(theirs()?.file.phase))"


async def meet(ann: Engine, bob: Engine, **options: object) -> None:
    """Both in a new room, and known to each other."""
    link = await ann.create(**options)
    await bob.open(link.replace(await ann("location.origin"), await bob("location.origin")))
    for engine in (ann, bob):
        await engine("() => until(() => [...room.state.users.values()].some(({me, nick}) => !me && nick))")
        await engine(THEIRS)


async def pair(visitors, base: str = "") -> tuple[Engine, Engine]:
    ann, bob = await bare(visitors), await bare(visitors, base)
    await meet(ann, bob)
    return ann, bob


async def test_a_file_arrives_whole(visitors):
    """Whatever its size, in sealed and open rooms; both sides know when it has."""
    ann, bob = await bare(visitors), await bare(visitors)
    for sealed, size in ((True, 0), (True, 61_440), (True, 2_000_000), (False, 1), (False, 61_441), (False, 2_000_000)):
        await meet(ann, bob, sealed=sealed)
        await ann(MAKE, [size, f"../a\u202ephoto{size}.png", "image/png", None])
        await bob(OFFERED, f"aphoto{size}.png")
        await bob(ACCEPT)
        await bob(phase("done"))
        assert await bob("theirs().file.image")
        assert await bob(SAME, size)
        await ann("() => until(() => room.line(key).file.receivers[0]?.state === 'received')")
        assert await ann("[room.line(key).status, room.line(key).file.phase]") == ["sent", "serving"]


async def test_a_file_goes_on_after_the_line_was_cut(server, visitors):
    """The receiver's line is cut in the middle: the rest comes, and it is whole."""
    async with cutter_before(server.base) as cutter:
        ann, bob = await pair(visitors, cutter.base)
        await ann(MAKE, [6_000_000, "big.bin", "", None])
        await bob(OFFERED, "big.bin")
        cutter.after["down"] = 2_000_000
        await bob(ACCEPT)
        await bob("() => until(() => room.state.phase === 'away')")
        assert await bob("theirs().file.bytes") > 0
        await bob("() => room.retry()")
        await bob(phase("done"))
        assert await bob(SAME, 6_000_000)


async def test_a_sender_who_comes_back_goes_on_serving(server, visitors):
    """The sender's line is cut in the middle: the receiver waits, and gets the rest."""
    async with cutter_before(server.base) as cutter:
        bob, ann = await pair(visitors, cutter.base)
        await ann(MAKE, [6_000_000, "big.bin", "", None])
        await bob(OFFERED, "big.bin")
        cutter.after["up"] = 2_000_000
        await bob(ACCEPT)
        await ann("() => until(() => room.state.phase === 'away')")
        await ann("() => room.retry()")
        await bob(phase("done"))
        assert await bob(SAME, 6_000_000)


# The first frame that says that a file has come gets lost, and its connection with it.
LOSE_DONE = """() => {
  const send = WebSocket.prototype.send;
  window.lost = 0;
  WebSocket.prototype.send = function (data) {
    const isDone = typeof data === "string" && JSON.parse(data).type === "done";
    if (!isDone || lost) return send.call(this, data);
    lost += 1;
    this.close();
  };
}"""


async def test_both_were_away_when_the_file_had_come(server, visitors):
    """The receiver's word is lost on its way to the relay, the relay's on its way to the sender: it is heard yet."""
    async with cutter_before(server.base) as cutter:
        bob, ann = await pair(visitors, cutter.base)
        await ann(MAKE, [1000, "small.bin", "", None])
        await bob(OFFERED, "small.bin")
        await bob(LOSE_DONE)
        await bob(ACCEPT)
        await bob("() => until(() => lost && room.state.phase === 'away')")
        assert await ann("room.line(key).file.receivers.map(({state}) => state)") == ["receiving"]
        cutter.refusing = True
        cutter.cut()
        await ann("() => until(() => room.state.phase === 'away')")
        await bob("() => { room.retry(); return until(() => room.state.phase === 'joined'); }")
        # What is said after it has got there after it.
        await bob("room.say('told')")
        await bob("() => until(() => texts().length)")
        cutter.refusing = False
        await ann("() => { room.retry(); return until(() => room.line(key).file.receivers[0].state === 'received'); }")


async def test_a_private_file_is_for_one(visitors):
    """Nobody else hears of it."""
    ann, bob = await pair(visitors)
    carol = await bare(visitors)
    await carol.open(await ann("room.state.link"), "carol")
    await ann(MAKE, [1000, "secret.html", "text/html", await bob("room.state.me")])
    await bob(OFFERED, "secret.html")
    await bob(ACCEPT)
    await bob(phase("done"))
    assert await bob(SAME, 1000)
    assert await bob("[theirs().file.image, theirs().to === room.state.me]") == [False, True]
    # An HTML file would be a page of this site: it has to be saved, never opened.
    assert await bob("blobs.get(theirs().file.url).type") == "application/octet-stream"
    await ann("room.say('done')")
    await carol.hears("done")
    assert await carol("room.state.lines.filter(({file}) => file).length") == 0


async def test_cancelled_withdrawn_refused(visitors):
    """A receiver stops and goes on; a sender withdraws; what a room does not take is refused before it is hashed."""
    ann, bob = await pair(visitors)
    await ann(MAKE, [20_000_000, "big.bin", "", None])
    await bob(OFFERED, "big.bin")
    await bob(ACCEPT)
    # In one go with what it waits for: a moment later all of it may have come.
    await bob("() => until(() => theirs().file.bytes > 500_000).then(() => room.cancel(theirs().key))")
    assert await bob("theirs().file.phase") == "cancelled"
    await ann("() => until(() => room.line(key).file.receivers[0].state === 'cancelled')")
    again = "() => room.line(key).file.receivers[0].state === 'receiving'"
    await ann(f"() => {{ until({again}).then(() => room.cancel(key)); }}")
    await bob(ACCEPT)
    await bob(phase("ended"))
    assert 500_000 < await bob("theirs().file.bytes") < 20_000_000
    assert await ann("room.line(key).file.phase") == "ended"
    await ann("room.moderation.edit({settings: {files: false}})")
    await ann("() => until(() => room.state.details.settings.files === false)")
    assert await ann.problem(f"() => ({MAKE})([1, 'x', '', null])") == "files_off"
    await ann("room.moderation.edit({settings: {files: true, max_file: 10}})")
    await ann("() => until(() => room.state.details.settings.max_file === 10)")
    assert await ann.problem(f"() => ({MAKE})([11, 'x', '', null])") == "file_too_large"


async def test_chat_goes_on_during_a_file(visitors):
    """What is said during a transfer does not wait for its end."""
    ann, bob = await pair(visitors)
    await ann(MAKE, [40_000_000, "big.bin", "", None])
    await bob(OFFERED, "big.bin")
    # In the pages themselves: by the time that a test has asked them anything, the file may have come.
    await ann("() => { until(() => room.line(key).file.receivers.length).then(() => room.say('still here')); }")
    await bob("() => { until(() => texts().length).then(() => { window.bytes = theirs().file.bytes; }); }")
    await bob(ACCEPT)
    await bob("() => until(() => 'bytes' in window)")
    assert await bob("bytes") < 40_000_000


async def test_files_between_page_and_python_client(visitors, tmp_path):
    """Both ways, in a sealed room: the one offers what the other can accept, and both know the end of it."""
    ann = await bare(visitors)
    await ann(THEIRS)
    link = await ann.create()
    async with join(link, "py") as py:
        await ann("() => until(() => [...room.state.users.values()].some(({me, nick}) => !me && nick))")
        await ann(MAKE, [500_000, "from page.bin", "", None])
        offered = await heard(py, FileOffered, 30, mine=False)
        arrived = await py.accept(offered, tmp_path)
        assert (arrived.name, arrived.stat().st_size) == ("from page.bin", 500_000)
        await ann("() => until(() => room.line(key).file.receivers[0]?.state === 'received')")
        source = tmp_path / "from python.bin"
        source.write_bytes(arrived.read_bytes())
        offer = await py.offer(source)
        await ann(OFFERED, "from python.bin")
        await ann(ACCEPT)
        await ann(phase("done"))
        assert await ann(SAME, 500_000)
        offer.withdraw()


async def test_a_file_is_of_the_line_that_offered_it(visitors):
    """Who names a file of somebody else's can neither take it back nor stand in its place."""
    ann, bob = await pair(visitors)
    async with join(await ann("room.state.link"), "eve") as eve:
        await ann(MAKE, [1000, "real.bin", "", None])
        await bob(OFFERED, "real.bin")
        await bob("() => { window.real = theirs().key; }")
        body = (await heard(eve, FileOffered, 30)).message.body
        forged = await eve.say({**body, "name": "forged.bin"})
        for engine in (ann, bob):
            await engine(OFFERED, "forged.bin")
            assert await engine("[theirs().file.phase, theirs().file.problem.code]") == ["ended", "file_gone"]
            await engine(ACCEPT)
        await eve.say({"kind": "delete", "re": {"by": encode_base64url(eve.me.key), "id": forged.id}})
        for engine in (ann, bob):
            await engine("() => until(() => theirs().deleted)")
        assert await ann("room.line(key).file.phase") == "serving"
        await bob("() => room.accept(real)")
        await bob("() => until(() => room.line(real).file.phase === 'done')")


async def test_files_that_never_come_make_way(visitors):
    """Four offers that nobody serves, and pictures nobody asked for, do not keep a fifth file from coming."""
    one = await visitors()
    await one.page.clock.install()
    await one.page.goto(one.base + BARE)
    await one.page.evaluate(READY)
    ann = Engine(one.page)
    bob = await bare(visitors)
    await meet(bob, ann)
    async with join(await bob("room.state.link"), "eve") as eve:
        for number in range(6):
            fid = encode_base64url(bytes([number] * 16))
            zeros = encode_base64url(bytes(32))
            await eve.say(
                {
                    "kind": "file",
                    "fid": fid,
                    "key": zeros,
                    "sha256": zeros,
                    "name": f"{number}",
                    "size": 9,
                    "chunk": 9,
                    "type": "",
                }
            )
        await ann(OFFERED, "5")
        await ann("""() => room.state.lines.filter(({file}) => file).forEach(({key, file}) => {
          room.accept(key, file.name < "3");
        })""")
        await bob(MAKE, [1000, "honest.bin", "", None])
        await ann(OFFERED, "honest.bin")
        await ann(ACCEPT)
        # Two of the three pictures, and two others, have the four places.
        assert await ann("theirs().file.phase") == "waiting"
        for _ in range(4):
            await one.page.clock.fast_forward(10_000)
        await ann(phase("done"))
        assert "ended" not in await ann("room.state.lines.filter(({file}) => file).map(({file}) => file.phase)")
