"""Every view in both colour schemes: no violation that axe finds, nothing wider than the screen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from web.visitors import Visitor

AXE = Path(__file__).parent / "node_modules/axe-core/axe.min.js"
WIDTHS = (320, 768, 1440)


async def violations(page: Page) -> list[str]:
    """What axe finds: rule and element."""
    if not AXE.exists():
        pytest.skip("there is no axe-core: npm ci --prefix tests/web")
    await page.evaluate(f"void (() => {{ {AXE.read_text()} }})()")
    found = await page.evaluate("axe.run({ resultTypes: ['violations'] })")
    return [f"{rule['id']}: {node['html'][:200]}" for rule in found["violations"] for node in rule["nodes"]]


async def views(ann: Visitor, bob: Visitor) -> AsyncIterator[tuple[str, Page]]:
    """Each view in turn, as people come to see it."""
    page = ann.page
    await page.goto(ann.base)
    await expect(page.get_by_role("button", name="Create room")).to_be_visible()
    yield "start", page
    await page.get_by_text("More options").click()
    yield "start, more", page
    await page.get_by_role("button", name="Settings").click()
    yield "settings", page
    await page.keyboard.press("Escape")
    link = await ann.create(name="A name that goes on for quite a while", Password="tea and cake")
    yield "invitation", page
    await bob.page.goto(link)
    await expect(bob.page.get_by_role("button", name="Join")).to_be_visible()
    yield "join", bob.page
    await bob.join(link, "bob", "tea and cake")
    await bob.say("Hello **there**, @ann!\n> who said that?\n- one\n- two `code`\n```\nblock\n```\nhttps://example.org")
    await ann.hears("Hello there")
    await ann.tool(ann.line("Hello there"), "Reply")
    await ann.say("It was me")
    await ann.tool(ann.line("Hello there").first, "React")
    yield "emoji", page
    await page.get_by_role("button", name="heart", exact=True).first.click()
    await expect(page.get_by_role("button", name="❤️ 1")).to_be_visible()
    await ann.line("Hello there").first.hover()
    yield "chat", page
    await page.get_by_role("button", name="Menu", exact=True).click()
    yield "menu", page
    await page.keyboard.press("Escape")
    for item in ("Share the link", "Safety code", "Run the room", "Settings"):
        await ann.menu(item)
        if item == "Safety code":
            await expect(page.locator(".words")).to_have_count(2)
        yield item, page
        await page.keyboard.press("Escape")
    await page.get_by_role("button", name="2 people here").click()
    if await page.locator(".people").is_hidden():
        await page.get_by_role("button", name="2 people here").click()
    await ann.person("bob", "Put out")
    yield "question", page
    await page.get_by_role("dialog").get_by_role("button", name="Put out").click()
    await expect(bob.page.get_by_role("alert").filter(has_text="put you out")).to_be_visible()
    yield "over", bob.page
    await bob.page.goto(f"{bob.base}/7d3c1bb6-1c1f-4d3c-9d5f-0d4f6f3c2b1a#ri_AAAAAAAAAAAAAAAAAAAAAA")
    await expect(bob.page.get_by_role("alert")).to_be_visible()
    yield "no such room", bob.page


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_view(visitors, scheme):
    """axe finds nothing, and nothing is wider than a small telephone, a tablet or a desk's screen."""
    ann, bob = await visitors(scheme=scheme), await visitors(scheme=scheme)
    found = []
    async for name, page in views(ann, bob):
        found += [f"{name}: {violation}" for violation in await violations(page)]
        for width in WIDTHS:
            await page.set_viewport_size({"width": width, "height": 800})
            wide = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
            if wide > 0:
                found.append(f"{name}: {wide} pixels too wide at {width}")
    assert found == []


async def test_by_keyboard_alone(visitors):
    """From the first page into the room, through its lines and menus, without a pointer."""
    ann = await visitors()
    await ann.page.goto(ann.base)
    await ann.page.get_by_label("Name of the room").focus()
    await ann.page.keyboard.type("Piano")
    await ann.page.keyboard.press("Enter")
    await expect(ann.composer).to_be_focused()
    await ann.page.keyboard.type("one")
    await ann.page.keyboard.press("Enter")
    await ann.page.keyboard.type("two")
    await ann.page.keyboard.press("Shift+Enter")
    await ann.page.keyboard.type("lines")
    await ann.page.keyboard.press("Enter")
    await ann.hears("two\nlines")
    for _ in range(12):
        await ann.page.keyboard.press("Shift+Tab")
        if await ann.page.evaluate("document.activeElement.closest('article') !== null"):
            break
    assert await ann.page.evaluate("document.activeElement.closest('article')?.textContent.includes('two')")
    await ann.page.keyboard.press("Shift+Tab")


async def test_screen_readers_are_told(visitors):
    """What others say is read out; what one says oneself is not."""
    ann, bob = await visitors(), await visitors()
    await bob.join(await ann.create())
    await bob.say("Can you hear me?")
    await expect(ann.page.locator("#live")).to_contain_text("bob: Can you hear me?")
    await ann.say("I can")
    await bob.hears("I can")
    await expect(ann.page.locator("#live")).not_to_contain_text("I can")


async def test_ten_thousand_lines(server, visitors):
    """A chat of 10,000 lines costs the document a few hundred elements; reading back brings the earlier ones."""
    room = await server.create()
    ann = await visitors()
    await ann.join(room["link"], "ann")
    made = """async (count) => {
        const { logView } = await import('/web/js/views/log.js');
        const plain = {
            kind: 'text', author: null, mine: false, status: 'sent', to: null, toUser: null, replyTo: null,
            replyLost: false,
            reactions: [], edited: false, deleted: false, mentionsMe: false, replayed: false, file: null, system: null,
        };
        const line = (n) => ({ ...plain, key: `k${n}`, at: 1e12 + n * 1000, text: `line ${n}`, seq: n });
        const lines = Array.from({ length: count }, (_, n) => line(n));
        const state = { lines, reads: new Map(), users: new Map(), me: '', unread: 0 };
        const room = { state, line: (key) => lines.find((one) => one.key === key), read() {} };
        const head = document.createElement('p');
        const view = logView(room, { names: () => [], person() {}, react() {} }, { tools: () => [], head });
        view.node.style.height = '600px';
        document.body.replaceChildren(view.node);
        view.toEnd();
        for (let n = 0; n < 1000; n++) {
            lines.push(line(count + n));
            lines.shift();
            const placed = [{ key: `k${count + n}`, before: null }];
            view.patch({ kinds: new Set(), placed, changed: new Set(), removed: [`k${n}`], news: [] });
        }
        return document.querySelectorAll('article').length;
    }"""
    assert await ann.page.evaluate(made, 10_000) <= 800
    last = ann.page.locator("article").last
    await expect(last).to_contain_text("line 10999")
    count = await ann.page.locator("article").count()
    await ann.page.locator(".log").evaluate("node => { node.scrollTop = 0 }")
    await expect(ann.page.locator("article")).to_have_count(count + 150)
    await expect(ann.page.locator("article").first).to_contain_text(f"line {11_000 - count - 150}")
