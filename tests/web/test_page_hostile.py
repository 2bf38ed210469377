"""What a hostile member sends stays text: nothing runs, nothing leaves its place, nobody's page is held up."""

from __future__ import annotations

from playwright.async_api import expect

from web.visitors import png

NICK = "mallory"
XSS = [
    "<script>xss()</script>",
    "<img src=x onerror=xss()>",
    "<svg onload=xss()>",
    "<svg><script>xss()</script></svg>",
    "<iframe src=javascript:xss()></iframe>",
    "<body onload=xss()>",
    "<details open ontoggle=xss()>",
    "<video><source onerror=xss()>",
    "<math><mtext><img src=x onerror=xss()></mtext></math>",
    "<a href=javascript:xss()>click</a>",
    "<style>@import 'http://evil.example/x.css';</style>",
    "<link rel=stylesheet href=http://evil.example/x.css>",
    "<base href=http://evil.example/>",
    "<meta http-equiv=refresh content=0;url=http://evil.example>",
    "<form action=http://evil.example><button>go</button></form>",
    "<object data=http://evil.example/x.swf></object>",
    "<template><img src=x onerror=xss()></template>",
    '"><img src=x onerror=xss()>',
    "'-xss()-'",
    "${xss()}",
    "{{constructor.constructor('xss()')()}}",
    "[click](javascript:xss())",
    "[click](JaVaScRiPt:xss())",
    "[click](data:text/html,<script>xss()</script>)",
    "[click](java\nscript:xss())",
    "[<img src=x onerror=xss()>](https://example.com)",
    "![x](http://evil.example/track.png)",
    "```<img src=x onerror=xss()>```",
    "`<img src=x onerror=xss()>`",
    "> <img src=x onerror=xss()>",
    "- <img src=x onerror=xss()>\n- **<svg onload=xss()>**",
    'https://example.com/"onmouseover="xss()',
    "javascript:xss()",
    "\u2028<img src=x onerror=xss()>\u0000",
]
HEAVY = {
    "letters": "a" * 60_000,
    "stars": "*" * 60_000,
    "brackets": "[" * 60_000,
    "backticks": "`" * 60_000,
    "underscores": "_a" * 30_000,
    "quotes": ">" * 60_000,
    "links": "https://a.b " * 5_000,
    "mentions": "@ann " * 12_000,
    "lines": "\n" * 30_000 + "end",
    "lists": "- a\n" * 12_000,
    "fences": "```\n" * 12_000,
    "marks": "Z" + "\u0335\u0321\u0489" * 3_000,
}


def _text(text: str) -> dict[str, str]:
    return {"kind": "text", "text": text}


async def test_markup_stays_text(server, visitors):
    """Of what looks like markup nothing becomes an element that loads, runs or leads astray."""
    room = await server.create()
    ann = await visitors()
    await ann.join(room["link"], "ann")
    await ann.page.evaluate("void (window.xss = () => { window.ran = true })")
    mallory = await server.join(room, "<img src=x onerror=xss()>")
    for number, text in enumerate(XSS):
        await mallory.say(f"x{number}", _text(text))
    await mallory.say("last", _text("that was all"))
    await ann.hears("that was all")
    mallory.socket.transport.abort()  # it has not read what it said
    page = ann.page
    assert await page.evaluate("window.ran") is None
    inside = page.locator("article .body")
    assert await inside.count() == len(XSS) + 1
    made = await inside.locator("*").evaluate_all("nodes => [...new Set(nodes.map((node) => node.localName))]")
    assert set(made) <= {
        "p",
        "br",
        "a",
        "span",
        "code",
        "pre",
        "div",
        "button",
        "blockquote",
        "ul",
        "li",
        "strong",
        "em",
    }
    links = await page.locator("article a").evaluate_all("nodes => nodes.map((node) => [node.protocol, node.rel])")
    assert links
    assert all(protocol in ("http:", "https:") and "noopener" in rel for protocol, rel in links)
    handlers = "nodes => nodes.flatMap((node) => node.getAttributeNames()).filter((name) => name.startsWith('on'))"
    assert await page.locator("#app *").evaluate_all(handlers) == []
    shown = await page.locator("article").all_inner_texts()
    assert sum("onerror=xss()" in text for text in shown) >= 10  # as text it is there


async def test_a_link_says_where_it_leads(server, visitors):
    """Words that name another place than the link's are followed by its host."""
    room = await server.create()
    ann = await visitors()
    await ann.join(room["link"], "ann")
    mallory = await server.join(room, NICK)
    await mallory.say("1", _text("[https://bank.example](https://evil.example/login)"))
    await expect(ann.page.locator("article a")).to_have_text("https://bank.example (evil.example)")


async def test_directions_stay_inside(server, visitors):
    """Overrides of the writing direction turn neither the line nor what stands around it."""
    room = await server.create()
    ann = await visitors()
    await ann.join(room["link"], "ann")
    mallory = await server.join(room, "evil\u202egnp.exe")
    await mallory.say("1", _text("abc\u202edef\u2066ghi"))
    await ann.hears("abcdefghi")
    names = await ann.page.locator("button.person").all_inner_texts()
    assert not any("\u202e" in name for name in names)


async def test_marks_do_not_climb(server, visitors):
    """A pile of combining marks stays within its own line's box, in texts and in names."""
    room = await server.create()
    ann = await visitors()
    await ann.join(room["link"], "ann")
    mallory = await server.join(room, "Z" + "\u0335\u0321\u0489\u0316" * 40)
    await mallory.say("1", _text("Z" + "\u0335\u0321\u0489\u0316" * 500))
    await mallory.say("2", _text("below"))
    await ann.hears("below")
    text = await ann.page.locator("article .body").first.inner_text()
    assert len(text) < 10
    assert len(await ann.page.locator("article .who").first.inner_text()) < 80


async def test_heavy_texts(server, visitors):
    """What is long is folded, and the page goes on at once; at 320 pixels nothing is wider than the screen."""
    room = await server.create()
    ann = await visitors(width=320)
    await ann.join(room["link"], "ann")
    for kind, text in HEAVY.items():
        mallory = await server.join(room, NICK)
        await mallory.say("1", _text(text))
        await mallory.say("2", _text(f"after {kind}"))
        mallory.socket.transport.abort()
        await ann.hears(f"after {kind}")
        heavy = ann.page.locator("article.text").nth(-2)
        box = await heavy.bounding_box()
        assert box is not None, kind
        assert box["height"] < 500, kind
        assert box["x"] + box["width"] <= 320, kind
        assert await ann.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), kind
        assert await heavy.locator("*").count() < 3_000, kind
        await ann.say(f"still here, {kind}")
        await ann.hears(f"still here, {kind}")


async def test_bodies_of_every_shape(server, visitors):
    """What is no text of ours is said to be something that cannot be shown, and breaks nothing."""
    room = await server.create()
    ann = await visitors()
    await ann.join(room["link"], "ann")
    mallory = await server.join(room, NICK)
    nothing = [None, 1, True, [], {}, {"kind": None}, {"kind": "poll"}, {"kind": "text"}, {"kind": "text", "text": 5}]
    lost = [
        {"kind": "edit", "re": {"from": "u_x", "id": "1"}, "text": "x"},
        {"kind": "delete", "re": None},
        {"kind": "reaction"},
    ]
    for number, body in enumerate([*nothing, *lost]):
        await mallory.say(f"b{number}", body)
    await mallory.say("last", _text("over"))
    await ann.hears("over")
    assert await ann.page.locator("article.unknown").count() >= 6


async def test_others_cannot_edit(server, visitors):
    """An edit or deletion counts only if it comes from the author."""
    room = await server.create()
    ann = await visitors()
    await ann.join(room["link"], "ann")
    bob, mallory = await server.join(room, "bob"), await server.join(room, NICK)
    await bob.say("m1", _text("I like it"))
    ref = {"from": bob.id, "id": "m1"}
    await mallory.say("1", {"kind": "edit", "re": ref, "text": "I hate it"})
    await mallory.say("2", {"kind": "delete", "re": ref})
    await mallory.say("3", _text("done"))
    await ann.hears("done")
    await ann.hears("I like it")


async def test_many_reactions(server, visitors):
    """Reactions of any text and number stay small."""
    room = await server.create()
    ann = await visitors()
    await ann.join(room["link"], "ann")
    mallory = await server.join(room, NICK)
    await mallory.say("m", _text("react to me"))
    reaction = {"kind": "reaction", "re": {"from": mallory.id, "id": "m"}, "on": True}
    for number in range(60):
        await mallory.say(f"r{number}", {**reaction, "emoji": f"{number}" * 40})
    await mallory.say("last", _text("over"))
    await ann.hears("over")
    mallory.socket.transport.abort()
    assert await ann.page.locator(".reactions button").count() <= 20
    box = await ann.page.locator("article.text").first.bounding_box()
    assert box is not None
    assert box["height"] < 400


async def test_time_grows_with_length_alone(visitors):
    """Texts that have made patterns go back and forth cost no more, letter for letter, than others."""
    ann = await visitors()
    await ann.page.goto(ann.base)
    measure = """async (parts) => {
        const { markdown } = await import('/web/js/lib/markdown.js');
        const words = { copy: '', onCopy() {}, names: [] };
        const [start, middle, end] = parts;
        const took = (count) => Math.min(...[1, 2, 3].map(() => {
            const text = start + middle.repeat(count) + 'x' + end.repeat(count);
            const begun = performance.now();
            for (let turn = 0; turn < 100; turn++) markdown(text, words);
            return performance.now() - begun;
        }));
        took(100);
        return took(800) / Math.max(took(100), 1);
    }"""
    for parts in (
        ("http://x", ".", ")"),
        ("[x](http://", "a", "b"),
        ("http://x", "(", "."),
        ("[", "a", "["),
        ("*", "a ", "*"),
    ):
        assert await ann.page.evaluate(measure, parts) < 24, parts  # 8 if it is linear, 64 if quadratic, 512 if cubic


async def test_a_small_file_that_is_a_large_picture(visitors):
    """A picture that would fill the memory is not shown: it can be saved."""
    ann, bob = await visitors(), await visitors()
    await bob.join(await ann.create())
    offered = ann.page.locator("input[type=file]")
    await offered.set_input_files({"name": "bomb.png", "mimeType": "image/png", "buffer": png(16_000)})
    await expect(bob.line("bomb.png").get_by_role("link", name="Save")).to_be_visible()
    await offered.set_input_files({"name": "fair.png", "mimeType": "image/png", "buffer": png(40)})
    await expect(bob.line("fair.png").locator("img")).to_be_visible()
    await expect(bob.line("bomb.png").locator("img")).to_have_count(0)


async def test_pictures_nobody_asked_for(visitors):
    """Only so many pictures are fetched without being asked for."""
    ann, bob = await visitors(), await visitors()
    await bob.join(await ann.create())
    files = [{"name": f"{number}.png", "mimeType": "image/png", "buffer": png(8)} for number in range(22)]
    await ann.page.locator("input[type=file]").set_input_files(files)
    await expect(bob.page.locator("article img")).to_have_count(20)
    await expect(bob.page.locator("article").get_by_role("button", name="Get")).to_have_count(2)
