"""The first page: pasted links, and what the page promises about encryption."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from conftest import relay_with
from playwright.async_api import expect

from web.person import Person, query
from web.test_page_parts import texts

SECRET = "ZGVmZ2hpamtsbW5vcHFycw"
PUT = """(field, text) => {
  field.focus();
  field.value = text;
  field.dispatchEvent(new Event("input", { bubbles: true }));
}"""
FIELD = query("textbox", "Got a link")
DESCRIPTION = """(button) => (button.getAttribute("aria-describedby") ?? "").split(" ")
  .map((id) => document.getElementById(id)).filter((element) => element?.checkVisibility())
  .map((element) => element.innerText).join(" ")"""


async def paste(ann: Person, text: str) -> None:
    await ann.on(FIELD, PUT, text)
    await ann.key("Enter")


async def test_incomplete_links_are_rejected(server, people):
    """Text that is not a complete room link is rejected in place, and never navigated to."""
    room = await server.create()
    own, fragment, other = urlsplit(server.base).netloc, room["invite_key"], "elsewhere.example"
    link = f"{own}/{room['id']}#{fragment}"
    incomplete = [
        fragment,
        f"#{fragment}",
        f"{fragment}.1.{SECRET}",
        room["id"],
        f"/{room['id']}#{fragment}",
        f"{room['id']}#{fragment}",
        f"{own}/{room['id']}",
        f"http://{own}/{room['id']}#",
        f"http://{other}/{room['id']}#{fragment[:-3]}",
        f"http://{other}/{room['id']}#{fragment}.1.{SECRET[:-3]}",
        f"http://{own}/{room['id']}#{fragment}x",
        f"{room['id']}\n#{fragment}",
    ]
    wrong = ["tea", "localhost", other, f"http://{other}/", f"//{other}", "https://", server.base, "http://[", "…"]
    strange = [
        "javascript:document.title='run'",
        f"javascript://{link}",
        f"data:text/html,{fragment}",
        f"file://{link}",
        f"ftp://{link}",
        f"ws://{link}",
        f"http://user@{link}",
        f"http://{own}:pw@{other}/{room['id']}#{fragment}",
        f"{own}@{other}/{room['id']}#{fragment}",
        f"http:{link}",
        f"http:\\\\{link}",
        f"http://{other}/a/{room['id']}#{fragment}",
    ]
    ann = await people()
    await ann.open()
    await ann.tab.evaluate("() => { globalThis.wasHere = true; }")
    for text in [*incomplete, *wrong, *strange]:
        await paste(ann, text)
        words = "link is incomplete" if text in incomplete else "link"
        await ann.wait("alert", text=words)
        assert await ann.tab.evaluate("() => [globalThis.wasHere, location.href]") == [True, f"{server.base}/"], text
        assert (await ann.wait("textbox", "Got a link"))["value"] == text.replace("\n", "")
        await ann.on(FIELD, PUT, "")
        await ann.gone("alert")
    await paste(ann, f"{server.base}/{room['id']}#{fragment}.7.{SECRET}")
    await ann.wait("alert", text="newer program")


async def test_a_link_within_other_text(server, people):
    """A complete link is found within other text, in brackets, before punctuation, and broken over lines."""
    room = await server.create(name="tea party")
    identity, fragment = room["id"], room["invite_key"]
    link = f"{server.base}/{identity}#{fragment}"
    forms = [
        link,
        f"Join here: {link} see you",
        f"<{link}>",
        f"({link}).",
        f"来{link}。",
        f"_{link}_",
        f"{link}.",
        f"{link},",
        link.removeprefix("http://"),
        link.replace("#", "%23"),
        link.replace("#", "?fbclid=x&utm_source=y#"),
        link.replace("#", "/#"),
        link.replace(identity, f"/{identity.upper()}"),
        f"{link[:40]} {link[40:]}",
        f"Here: {link[:-5]} > {link[-5:]} See you",
    ]
    ann = await people()
    for text in forms:
        await ann.open()
        await paste(ann, text)
        await ann.wait("heading", "tea party")
        assert await ann.tab.evaluate("() => location.href") == link


async def test_a_link_of_another_server(people):
    """A link to another host is opened only after the person has agreed; the question names the host."""
    async with relay_with() as other:
        room = await other.create(name="elsewhere")
        ann = await people()
        await ann.open()
        here = await ann.tab.evaluate("() => location.href")
        hosts = {urlsplit(other.base).netloc: urlsplit(other.base).netloc, "müller.example": "xn--mller-kva.example"}
        for host, shown in hosts.items():
            await paste(ann, f"Come: http://{host}/{room['id']}#{room['invite_key']}!")
            await ann.wait("dialog", text=shown)
            await ann.click("button", "Cancel")
            assert await ann.tab.evaluate("() => location.href") == here
        await paste(ann, f"{urlsplit(other.base).netloc}/{room['id']}#{room['invite_key']}")
        await ann.click("button", urlsplit(other.base).netloc)
        await ann.wait("heading", "elsewhere")
        assert await ann.tab.evaluate("() => location.href") == f"{other.base}/{room['id']}#{room['invite_key']}"


async def test_a_link_with_https(server, visitors):
    """On a page opened over plain http, an https link to the same host is followed."""
    room = await server.create()
    ann = await visitors(base=server.base.replace("http:", "https:"))
    await ann.page.route(
        re.compile("^https:"), lambda route: route.fulfill(body="another page")
    )  # the daemon has no TLS
    await ann.page.goto(server.base)
    link = f"{ann.base}/{room['id']}#{room['invite_key']}"
    await ann.page.get_by_placeholder("Got a link?").fill(link)
    await ann.page.get_by_role("button", name="Open").click()
    await expect(ann.page).to_have_url(link)


async def test_plain_http_promises_nothing(server, people):
    """On plain http the first page warns next to the button, in each language, and promises no encryption."""
    ann = await people()
    await ann.open(f"http://[::ffff:127.0.0.1]:{urlsplit(server.base).port}/")
    assert not await ann.tab.evaluate("() => isSecureContext")
    names = {"de": "Deutsch", "es": "Español", "fr": "Français", "pt": "Português", "zh": "中文", "en": "English"}
    now = texts("en")
    for language, name in names.items():
        await ann.click("button", f"={now['settings.title']}")
        await ann.choose(now["settings.language"], name)
        now = texts(language)
        await ann.sees(now["start.not_sealed_http"])
        assert now["start.promise_sealed"] not in await ann.text()
        assert await ann.on(query("button", f"={now['start.create']}"), DESCRIPTION) == now["start.not_sealed_http"]
    await ann.click("button", "Create room")
    await ann.sees("Not encrypted")


async def test_the_promise_follows_the_box(people):
    """The page promises encryption only while the checkbox is checked."""
    ann = await people()
    await ann.open()
    await ann.sees("Encrypted in your browser")
    assert "not be encrypted" not in await ann.text()
    await ann.click("button", "More options")
    await ann.click("checkbox", "Encrypt")
    await ann.sees("This room will not be encrypted")
    assert "Encrypted in your browser" not in await ann.text()
    assert "not be encrypted" in await ann.on(query("button", "Create room"), DESCRIPTION)
    await ann.click("checkbox", "Encrypt")
    await ann.sees("Encrypted in your browser")
    assert "not be encrypted" not in await ann.text()
