"""What a hostile member or server sends costs a page little, however much and whatever it is.

Frames come from the page's own socket, as fast as it takes them; what counts is the number of elements and characters.
"""

# ruff: noqa: RUF001 # texts of many scripts

from __future__ import annotations

import json
import unicodedata
from collections.abc import Awaitable, Callable
from itertools import pairwise
from random import Random
from typing import Any

from playwright.async_api import expect

MARKS = "\u0301\u0302\u0303\u0304"
# Format characters and what else may stand between marks: each split a pile for a rule that counts marks in a row.
BETWEEN = [
    *"\u200b\u200c\u200d\u200e\u200f\u2060\u2061\u2064\u00ad\u061c\u180e\ufeff\ufe0f\u034f\u202e\u2066\u2069\u206a\ufff9\ufffb",
    *"\U000e0001\U000e0041\U000e007f\U0001d173\U0001bca0\U00013430\U0001f3fb\uff9e\u115f\u0000\u0085",
]
HONEST = [
    "Zürich, Ελλάδα, Việt Nam, naïve",
    "می\u200cخواهم",
    "שָׁלוֹם עֲלֵיכֶם",
    "क्\u200dष और क्\u200cष",
    "ภาษาไทย น้ำที่",
    "བོད་ཡིག་ བསྒྲུབས",
    "ᠮᠣᠩᠭᠣᠯ\u180eᠠ",
    "ﷺ ﷻ \u06dd\u0661 \u0600\u0661",
    "\U0001f469\u200d❤\ufe0f\u200d\U0001f468 ❤\ufe0f\u200d\U0001f525 \U0001f44d\U0001f3fd",
    "\U0001f1e9\U0001f1ea 1\ufe0f\u20e3",
    "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "car\u200e (\u05d0\u200f)",
    "one\ntwo\tthree",
]
FORBIDDEN = r"/\p{M}{5}|[\u00ad\u200b\u2060-\u2064\u202a-\u202e\u206a-\u206f\u2028\u2029\ufeff\ufff9-\ufffb]/u"
CAPTURE = """() => {
  window.sockets = [];
  window.WebSocket = class extends WebSocket {
    constructor(...address) { super(...address); sockets.push(this); }
  };
  window.hear = (...frames) => frames.forEach((frame) => sockets.at(-1).onmessage({ data: JSON.stringify(frame) }));
  document.querySelector("form.card input[type=checkbox]").click(); // not encrypted
}"""
MALLORY = "u_00000000mallory0"
ENTER = """([nick, id]) => {
  hear({ type: "presence", joined: [{ id, profile: { nick } }], left: [], changed: [], users: 2 });
}"""
# Texts of nearly one frame, and what each is made of.
HEAVY = {
    "links": "https://a.b " * 900,
    "list": "- a\n" * 990,
    "numbers": "1. a\n" * 990,
    "paragraphs": "a\n\n" * 16_000,
    "quotes": ">>>>>>>> a\n\n" * 4_000,
    "quotes of lists": "> - a\n\n" * 4_000,
    "lists of one": "- a\n\n" * 8_000,
    "emphasis": "*a* " * 15_000,
    "nested": "**a *b ~~c `d`~~* e** " * 2_500,
    "fences": "```\na\n```\n" * 6_000,
    "code": "`a` " * 15_000,
    "mentions": "@mallory " * 7_000,
    "table": "| a | b |\n" * 6_000,
    "one word": "a" * 64_000,
    "lines": "\n" * 60_000 + "end",
    "line separators": "a\u2028" * 20_000,
    "form feeds": "a\f" * 30_000,
    "ligatures": "\ufdfa" * 20_000,
    "families": "\U0001f469\u200d" * 9_000,
    "flags": "\U0001f1e6" * 15_000,
    "conjuncts": "क्" * 10_000,
}
WORST = "*a* " * 375


async def opened(ann: Any) -> Any:
    """The page of a visitor in a room that is not encrypted; `hear` takes frames as if the server had sent them."""
    await ann.page.goto(ann.base)
    await expect(ann.page.get_by_role("button", name="Create room")).to_be_visible()
    await ann.page.evaluate(CAPTURE)
    await ann.page.get_by_role("button", name="Create room").click()
    await expect(ann.composer).to_be_visible()
    await ann.page.evaluate(ENTER, ["mallory", MALLORY])
    return ann.page


def message(number: int, text: str, **more: Any) -> dict[str, Any]:
    body = {"kind": "text", "text": text}
    return {"type": "message", "seq": 1000 + number, "from": MALLORY, "id": f"m{number}", "at": 0, "body": body, **more}


async def test_safe_texts(visitors):
    """Marks never pile up, whatever stands between them; what scripts and emoji need stays; twice changes nothing."""
    ann = await visitors()
    await ann.page.goto(ann.base)
    cases = [("a" + (MARKS + between) * 2_000 + "b") for between in BETWEEN]
    cases += ["a" + (MARKS + "".join(pair)) * 500 for pair in pairwise(BETWEEN)]
    random = Random(7)
    pool = [*BETWEEN, *MARKS, *"ab \n\u05d0\u0627\u0915\u094d\u0e33\u0f72\U0001f3f4\U0001f469", "\U000e0067", "\u0344"]
    cases += ["".join(random.choices(pool, k=200)) for _ in range(300)]
    script = """async (texts) => {
      const { safe, safeLine } = await import("/web/js/lib/text.js");
      return texts.map((text) => [safe(text), safe(safe(text)), safeLine(text, 64), safeLine(safeLine(text, 64), 64)]);
    }"""
    for text, (once, twice, name, name_twice) in zip(cases, await ann.page.evaluate(script, cases), strict=True):
        assert once == twice, ascii(text)
        assert name == name_twice, ascii(text)
        for shown in (once, name):
            assert longest_pile(shown) <= 4, (ascii(text[:20]), ascii(shown[:40]))
            assert not set(shown) & set("\u200b\u2060\u00ad\ufeff\u202e\u2066\u2069\ufff9\u0000\u0085"), ascii(text)
    for text, (once, *_) in zip(HONEST, await ann.page.evaluate(script, HONEST), strict=True):
        assert once == text


def longest_pile(text: str) -> int:
    """The most marks on one character; what is invisible does not end a pile."""
    longest = pile = 0
    for character in text:
        if unicodedata.category(character)[0] == "M":
            pile += 1
        elif unicodedata.category(character) != "Cf":
            pile = 0
        longest = max(longest, pile)
    return longest


async def test_every_text_is_safe(visitors):
    """Names, texts, reactions, files, announcements and errors: none piles up marks or turns the direction around."""
    ann = await visitors()
    page = await opened(ann)
    for number, between in enumerate(
        ["\u200b", "\u2060", "\u00ad", "\u202e", "\u200f", "\U000e0041", "\ufff9", "\ufeff"]
    ):
        zalgo = "Z" + (MARKS + between) * 60
        user, at = f"u_00000000{MARKS}{between}{number}", 100 * number
        ref = {"from": user, "id": f"m{at}"}
        file = {
            "kind": "file",
            "fid": "AAECAwQFBgcICQoLDA0ODw",
            "sha256": "A" * 43,
            "size": 7,
            "chunk": 7,
            "name": zalgo,
        }
        bodies = [f"{zalgo} @{zalgo} [{zalgo}](https://{zalgo}.example/{zalgo}) ```{zalgo}```", file]
        bodies += [{"kind": "reaction", "re": ref, "emoji": f"Z{MARKS}{between}{MARKS}{between}", "on": True}]
        bodies += [{"kind": "text", "text": zalgo, "re": ref}, {"kind": "edit", "re": ref, "text": zalgo}]
        room_id = await page.evaluate("location.pathname.slice(1)")
        await page.evaluate(ENTER, [zalgo, user])
        frames = [message(at + place, "", body=body, **{"from": user}) for place, body in enumerate(bodies)]
        frames += [
            {"type": "signal", "from": user, "kind": "typing", "data": True},
            {"type": "signal", "from": user, "kind": "read", "data": {"seq": 1000 + at + 4}},
            {"type": "room", "event": "updated", "room": {"id": room_id, "name": zalgo}},
            {"type": "room", "event": "announcement", "text": zalgo},
            {
                "type": "presence",
                "joined": [],
                "left": [],
                "changed": [{"id": user, "muted": True, "profile": {"nick": f"{zalgo}2"}}],
                "users": 2,
            },
        ]
        await page.evaluate("(frames) => hear(...frames)", frames)
        await expect(page.locator("article.text")).to_have_count(2 * (number + 1))
        await expect(page.locator(".typists")).not_to_be_empty()
        await expect(page.locator(".reactions button")).to_have_count(number + 1)
    look = f"""() => {{
      const texts = [document.title];
      const walker = document.createTreeWalker(document, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT);
      while (walker.nextNode()) {{
        const node = walker.currentNode;
        if (node instanceof Text) texts.push(node.data);
        else for (const {{ name, value }} of node.attributes) if (name !== "data-key") texts.push(value);
      }}
      return texts.filter((text) => {FORBIDDEN}.test(text.normalize("NFD").replace(/[\\u200c-\\u200f]/g, "")));
    }}"""
    assert await page.evaluate(look) == []


async def test_a_long_text_is_shown_up_to_its_fold(visitors):
    """Until it is unfolded, a text costs at most 200 elements and 1,500 characters; then all of it is there."""
    page = await opened(await visitors())
    body = page.locator("article.text .body").last
    count = "node => [node.querySelectorAll('*').length, node.textContent.length]"
    for number, (kind, text) in enumerate(HEAVY.items()):
        await page.evaluate("(frame) => hear(frame)", message(number, text))
        await expect(page.locator("article.text")).to_have_count(number + 1)
        elements, characters = await body.evaluate(count)
        assert elements <= 215, kind
        assert characters <= 1_500 + 100 * len(" (a.b)"), kind
        await page.get_by_role("button", name="Show all").last.click()
        await expect(page.get_by_role("button", name="Show less")).to_be_visible()
        elements, characters = await body.evaluate(count)
        assert elements <= 1_015, kind
        assert kind != "one word" or characters == 64_000
        await page.get_by_role("button", name="Show less").click()
        await expect(page.get_by_role("button", name="Show less")).to_have_count(0)


async def test_a_short_text_of_many_elements(visitors):
    """A text that is not folded has at most 200 elements; the rest of it is there as it was typed."""
    page = await opened(await visitors())
    await page.evaluate("(frame) => hear(frame)", message(1, WORST))
    elements, text = await page.locator("article.text .body").evaluate(
        "node => [node.querySelectorAll('*').length, node.textContent]"
    )
    assert 50 < elements <= 215
    assert text.strip().endswith("*a* *a*")


async def test_a_document_is_bounded(visitors):
    """500 of the worst messages leave the newest ones in a document of a bounded size, wherever somebody reads."""
    page = await opened(await visitors())
    count = "document.querySelectorAll('*').length"

    async def flood(start: int, last: str) -> None:
        frames = [message(start + number, WORST) for number in range(500)] + [message(start + 500, last)]
        await page.evaluate("(frames) => hear(...frames)", frames)

    await flood(0, "the newest")
    await expect(page.locator("article").filter(has_text="the newest")).to_be_visible()
    assert await page.evaluate(count) < 23_000
    log = page.locator(".log")
    for _ in range(8):
        await log.evaluate("node => { node.scrollTop = 0 }")
        await page.evaluate("() => new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))")
        assert await page.evaluate(count) < 23_000
    await flood(1_000, "even newer")
    await expect(page.get_by_role("button", name="To the newest message")).to_contain_text("501")
    assert await page.evaluate(count) < 23_000
    await page.get_by_role("button", name="To the newest message").click()
    await expect(page.locator("article").filter(has_text="even newer")).to_be_visible()
    assert await page.evaluate(count) < 23_000


async def test_a_burst_is_drawn_in_slices(visitors):
    """Of 300 messages that come together, each frame draws some, and what is typed meanwhile is there."""
    ann = await visitors()
    page = await opened(ann)
    await page.evaluate("""() => {
      window.grown = [];
      const watch = new MutationObserver((changes) => {
        const added = changes.flatMap(({ addedNodes }) => [...addedNodes]).filter(({ localName }) => localName);
        if (added.length) grown.push(added.reduce((sum, node) => sum + 1 + node.querySelectorAll("*").length, 0));
      });
      watch.observe(document.querySelector(".lines"), { childList: true });
    }""")
    frames = [message(number, WORST) for number in range(300)] + [message(300, "the last")]
    await page.evaluate("(frames) => hear(...frames)", frames)
    await ann.composer.type("typed")
    await expect(page.locator("article").filter(has_text="the last")).to_be_visible()
    await expect(ann.composer).to_have_value("typed")
    grown = await page.evaluate("grown")
    assert len(grown) > 5
    assert max(grown) < 2_500


async def test_a_burst_of_changes_is_drawn_in_slices(visitors):
    """300 messages that change together, too."""
    page = await opened(await visitors())
    frames = [message(number, f"before {number}") for number in range(300)]
    await page.evaluate("(frames) => hear(...frames)", frames)
    await expect(page.locator("article.text")).to_have_count(150)
    await page.evaluate("""() => {
      window.grown = [];
      const watch = new MutationObserver((changes) => {
        const added = changes.flatMap(({ addedNodes }) => [...addedNodes]).filter(({ localName }) => localName);
        grown.push(added.reduce((sum, node) => sum + 1 + node.querySelectorAll("*").length, 0));
      });
      watch.observe(document.querySelector(".lines"), { childList: true, subtree: true });
    }""")
    edits = [
        message(1_000 + number, "", body={"kind": "edit", "re": {"from": MALLORY, "id": f"m{number}"}, "text": WORST})
        for number in range(300)
    ]
    await page.evaluate("(frames) => hear(...frames)", edits)
    await expect(page.locator("article.text").filter(has_text="before")).to_have_count(0)
    assert max(await page.evaluate("grown")) < 2_500


async def test_a_block_of_code_is_copied_whole(visitors):
    """A folded block of code has its button only if all of it is shown; once unfolded, all of it is copied."""
    ann = await visitors()
    page = await opened(ann)
    code = "\n".join(f"line {number}" for number in range(60))
    await page.evaluate("(frame) => hear(frame)", message(1, f"```\n{code}\n```"))
    line = page.locator("article.text")
    await expect(line.locator(".code button")).to_have_count(0)
    await page.get_by_role("button", name="Show all").click()
    await expect(line.locator(".code button")).to_be_visible()
    assert await line.locator(".code code").inner_text() == code


# The next message is not sent: that frame with its id is the answer.
REFUSE = """(frame) => {
  const socket = sockets.at(-1);
  socket.send = (data) => {
    const { type, id } = JSON.parse(data);
    if (type !== "message") return WebSocket.prototype.send.call(socket, data);
    delete socket.send;
    hear({ ...frame, id });
  };
}"""
NAMES = ["constructor", "toString", "__proto__", "hasOwnProperty", "valueOf", "then", ""]


def refuses(answer: dict[str, Any]) -> Callable[[Any], Awaitable[None]]:
    return lambda route: route.fulfill(**answer)


async def test_codes_of_every_name(visitors):
    """A code that every object has as a property is an unknown code: the page says so, wherever it comes from."""
    room_path = "**/api/v1/*"
    ann = await visitors()
    for name in NAMES:
        answer = json.dumps({"code": name, "detail": "no reason"})
        refusal = {"status": 403, "content_type": "application/json", "body": answer}
        await ann.page.route(room_path, refuses(refusal))
        await ann.page.goto(f"{ann.base}/6c1f0d5e-3c1b-4a8e-9d42-0f2b8f6f3a11#ri_AAAAAAAAAAAAAAAAAAAAAA")
        expected = "makes no sense" if name == "" else "That did not work: no reason"
        await expect(ann.page.get_by_role("alert")).to_contain_text(expected)
        await ann.page.goto("about:blank")
    await ann.page.unroute(room_path)
    page = await opened(ann)
    for name in NAMES:
        await page.evaluate(REFUSE, {"type": "error", "code": name, "detail": "no reason"})
        await ann.say(f"code {name}")
        expected = "makes no sense" if name == "" else "That did not work: no reason"
        await expect(ann.line(f"code {name}").last).to_contain_text(expected)
    await page.evaluate(
        "(reason) => { hear({ type: 'room', event: 'closed', reason }); sockets.at(-1).onclose({ code: 4010 }); }",
        "constructor",
    )
    await expect(page.locator(".foot").get_by_role("alert")).to_contain_text("The room is over")


NUMBERS = [-1, 1e300, 2**53, -(2**53), 1.5, "x", None, True, [], {}, {"toString": None, "valueOf": None}]


async def test_numbers_of_every_size(visitors):
    """Sizes, times and counts of every kind leave the page as it was: it shows the next message."""
    page = await opened(await visitors())
    room_id = await page.evaluate("location.pathname.slice(1)")
    date = "2026-11-22T21:07:47.259Z"
    details = {
        "id": room_id,
        "name": "numbers",
        "date": date,
        "time_alive": 1,
        "expiration_date": date,
        "max": 9,
        "settings": {"files": True},
    }
    for place, value in enumerate(NUMBERS):
        at = 10 * place
        lies = [
            {field: value}
            for field in (
                "time_alive",
                "date",
                "expiration_date",
                "max",
                "users",
                "settings",
                "name",
                "locked",
                "expiration",
            )
        ]
        lies += [{"settings": {field: value}} for field in ("files", "max_file", "resume", "idle_timeout")]
        frames = [{"type": "room", "event": "updated", "room": {**details, **lie}} for lie in lies]
        frames += [
            {"type": "room", "event": "expiring", "in": value},
            {"type": "presence", "joined": [], "left": [], "changed": [], "users": value},
            {"type": "error", "id": "none", "code": "rate_limited", "retry_after_ms": value},
            {"type": "signal", "from": MALLORY, "kind": "read", "data": {"seq": value}},
            {"type": "signal", "from": MALLORY, "kind": "read", "data": value},
            message(at, "", at=value, body="a time"),
            message(
                at + 1,
                "",
                body={
                    "kind": "file",
                    "fid": "AAECAwQFBgcICQoLDA0ODw",
                    "sha256": "A" * 43,
                    "size": value,
                    "chunk": value,
                    "name": value,
                },
            ),
            message(at + 2, f"number {place}"),
        ]
        await page.evaluate("(frames) => hear(...frames)", frames)
        await expect(page.locator("article").filter(has_text=f"number {place}").last).to_be_visible()
        await page.get_by_role("button", name="Menu", exact=True).click()
        await page.get_by_role("menuitem", name="Run the room").click()
        await page.get_by_role("button", name="Close").click()
    assert "NaN" not in await page.locator("body").inner_text()
    await page.evaluate('sockets.at(-1).onmessage({ data: \'{"type":"room","event":"expiring","in":1e999}\' })')
    await expect(page.locator("article").last).to_contain_text("0 sec")


async def test_reading_while_messages_come(people):
    """Who reads back stays at that line while messages come; reading on, or the button, leads to the newest one."""
    ann = await people()
    await ann.open()
    await ann.wait("button", "Create room")
    await ann.tab.evaluate(CAPTURE)
    await ann.click("button", "Create room")
    await ann.wait("textbox", "Message")
    await ann.tab.evaluate(ENTER, ["mallory", MALLORY])
    flood = """(first, count) => hear(...Array.from({ length: count }, (_, at) => first + at).map((number) => ({
      type: "message", seq: 1000 + number, from: "u_00000000mallory0", id: `m${number}`, at: 0,
      body: { kind: "text", text: `number ${number}.` } })))"""
    top = """() => [...document.querySelectorAll("article")].find((line) => line.innerText.includes("number 420."))
      ?.getBoundingClientRect().top ?? null"""
    await ann.tab.evaluate(flood, 0, 500)
    await ann.sees("number 499.")
    scroll = """(text) => {
      const line = [...document.querySelectorAll("article")].find((one) => one.innerText.includes(text));
      line.scrollIntoView({ block: "center", behavior: "instant" });
    }"""
    await ann.tab.evaluate(scroll, "number 420.")
    await ann.wait("button", "To the newest message")
    before = await ann.tab.evaluate(top)
    await ann.tab.evaluate(flood, 500, 1500)
    await ann.wait("button", "To the newest message", text="999")
    assert abs(await ann.tab.evaluate(top) - before) < 2
    assert await ann.tab.evaluate("() => document.querySelectorAll('article').length") <= 800
    seen: list[str] = []
    for _ in range(400):
        # What is in view, and one screen on.
        shown = """() => {
          const log = document.querySelector(".log");
          const { top, bottom } = log.getBoundingClientRect();
          const inView = [...document.querySelectorAll("article.text")].filter((line) => {
            const box = line.getBoundingClientRect();
            return box.bottom > top && box.top < bottom;
          });
          log.scrollBy({ top: log.clientHeight - 60, behavior: "instant" });
          return inView.map((line) => line.dataset.key.split(" m")[1]);
        }"""
        seen += await ann.tab.evaluate(shown)
        if "1999" in seen:
            break
    assert {int(number) for number in seen} >= set(range(425, 2000))
