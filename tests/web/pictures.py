"""Draws the pictures of docs/img: `python tests/web/pictures.py`; needs Chromium, Pillow and pngquant.

Each view at 360, 768 and 1440 pixels, side by side at half their size, in the light and the dark scheme in turn.
"""

from __future__ import annotations

import asyncio
import io
import sys
from pathlib import Path

from PIL import Image, ImageDraw
from playwright.async_api import Page, async_playwright, expect

sys.path.insert(0, str(Path(__file__).parents[1]))

from conftest import relay_with

from web.visitors import SIZES, Visitor, chromium

IMAGES = Path(__file__).parents[2] / "docs/img"
GAP = 24
SCALE = 0.5


async def main() -> None:
    async with async_playwright() as playwright:
        browser = await chromium(playwright)
        for scheme in ("light", "dark"):
            async with relay_with() as relay:
                people = []
                for _ in range(3):
                    context = await browser.new_context(color_scheme=scheme, locale="en-GB", reduced_motion="reduce")
                    people.append(Visitor(context, relay.base))
                    await people[-1].tab()
                await show(scheme, *people)
        await browser.close()


async def show(scheme: str, ann: Visitor, bob: Visitor, carol: Visitor) -> None:
    """One room's short life, with a picture of each view."""
    await ann.page.goto(ann.base)
    await expect(ann.page.get_by_role("button", name="Create room")).to_be_visible()
    await draw("start", scheme, ann.page)
    link = await ann.create("Ada", "Friday dinner")
    await ann.page.get_by_role("button", name="QR code").click()
    await draw("invitation", scheme, ann.page)
    await bob.page.goto(link)
    await expect(bob.page.get_by_role("button", name="Join")).to_be_visible()
    await draw("join", scheme, bob.page)
    await bob.join(link, "Grace")
    await carol.join(link, "Linus")
    await expect(ann.page.locator("button.person").filter(has_text="Linus")).to_be_attached()
    await ann.say("Who is in for dinner on Friday? 🍝")
    await bob.hears("Who is in for dinner")
    await bob.say("Me! I bring:\n- bread\n- a bottle of *something*")
    await carol.hears("I bring")
    await carol.say("Count me in. Is it this one? https://example.org/pasta")
    await ann.hears("Count me in")
    await ann.tool(ann.line("Count me in").first, "React")
    await ann.page.get_by_role("button", name="tada", exact=True).first.click()
    await ann.tool(ann.line("Count me in").first, "Reply")
    await ann.say("Yes, with **a lot** of garlic. At eight?")
    await bob.hears("At eight?")
    await bob.say("Perfect")
    await ann.hears("Perfect")
    await carol.composer.press_sequentially("I will")
    await expect(ann.page.locator(".typists")).to_contain_text("Linus")
    await ann.page.mouse.move(5, 5)
    await draw("chat", scheme, ann.page)
    for name, item in (("safety", "Safety code"), ("owner", "Run the room"), ("settings", "Settings")):
        await ann.menu(item)
        if name == "safety":
            await expect(ann.page.locator(".words")).to_have_count(2)
        await draw(name, scheme, ann.page)
        await ann.page.keyboard.press("Escape")
    await ann.person("Grace", "Put out")
    await ann.page.get_by_role("dialog").get_by_role("button", name="Put out").click()
    await expect(bob.page.get_by_role("alert").filter(has_text="put you out")).to_be_visible()
    await draw("over", scheme, bob.page)


async def draw(name: str, scheme: str, page: Page) -> None:
    """One view in three widths, in one picture."""
    shots = []
    for width, height in SIZES.items():
        await page.set_viewport_size({"width": width, "height": height})
        await page.wait_for_timeout(300)
        shots.append(Image.open(io.BytesIO(await page.screenshot())).convert("RGB"))
    ground = (226, 222, 214) if scheme == "light" else (8, 10, 11)
    whole = Image.new("RGB", (sum(s.width for s in shots) + GAP * 4, max(s.height for s in shots) + GAP * 2), ground)
    left = GAP
    for shot in shots:
        mask = Image.new("L", shot.size, 0)
        ImageDraw.Draw(mask).rounded_rectangle((0, 0, shot.width, shot.height), 14, 255)
        whole.paste(shot, (left, GAP), mask)
        left += shot.width + GAP
    small = whole.resize((int(whole.width * SCALE), int(whole.height * SCALE)), Image.Resampling.LANCZOS)
    IMAGES.mkdir(exist_ok=True)
    path = IMAGES / f"page-{name}-{scheme}.png"
    small.save(path, optimize=True)
    await (await asyncio.create_subprocess_exec("pngquant", "--force", "--output", path, "128", path)).wait()


if __name__ == "__main__":
    asyncio.run(main())
