"""The page's parts by themselves: texts, QR codes, types, weight."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import zxingcpp
from playwright.async_api import expect

ROOT = Path(__file__).parents[2]
WEB = ROOT / "relayd/web"
JS = WEB / "js"
LANGUAGES = ("en", "de", "es", "fr", "pt", "zh")
# What Intl.PluralRules asks for whole numbers below a million, by language.
PLURALS = {"en": {"one", "other"}, "zh": {"other"}}
PLACEHOLDER = re.compile(r"\{(\w+)\}")


def texts(language: str) -> dict[str, str | dict[str, str]]:
    return json.loads((WEB / f"i18n/{language}.json").read_text())


def used_keys() -> set[str]:
    """Keys that stand in a call of `t`, or in one of the tables whose values are handed to it."""
    source = "\n".join(path.read_text() for path in WEB.glob("js/**/*.js"))
    keys: set[str] = set()
    for call in re.finditer(r"\bt\(", source):
        depth, end = 1, call.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(source[end], 0)
            end += 1
        keys |= set(re.findall(r'"([a-z_.]+)"', source[call.end() : end]))
    return keys | set(re.findall(r': "((?:problem|ended|system|file)\.[a-z_.]+)"', source))


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_are_complete(language):
    """Every text in every language, none that nobody shows, each with the same things to fill in."""
    own, english = texts(language), texts("en")
    assert set(own) == set(english)
    assert used_keys() == set(own)
    for key, text in own.items():
        forms = text if isinstance(text, dict) else {"": text}
        assert all(form.strip() for form in forms.values()), key
        if isinstance(text, dict):
            assert set(text) == PLURALS.get(language, {"one", "other"}), key
        model = english[key]["other"] if isinstance(english[key], dict) else english[key]
        for form in forms.values():
            assert set(PLACEHOLDER.findall(form)) == set(PLACEHOLDER.findall(model)), key


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_texts_are_translated(language):
    """What is word for word English is a word of both, or forgotten: only the known ones may be."""
    same = {key for key, text in texts(language).items() if text == texts("en")[key]}
    alike = "announce composer.placeholder composer.suggestions emoji.pick file.rate log.label menu"
    assert same <= set(alike.split())


async def test_qr_codes_are_read(visitors):
    """An independent decoder reads every version that a link can need, with any text."""
    ann = await visitors()
    await ann.page.goto(ann.base)
    texts = ["x" * length for length in (1, 14, 26, 42, 62, 84, 106, 122, 152, 180, 213, 251, 287, 362, 450, 560, 666)]
    texts.append("https://chat.example.org/0b9c0d5e-#ri_Ünïcödé 文字 🦦")
    codes = await ann.page.evaluate(
        "async (texts) => { const { qr } = await import('/web/js/lib/qr.js'); return texts.map((text) => qr(text)) }",
        texts,
    )
    for text, rows in zip(texts, codes, strict=True):
        assert read(rows) == text
    refused = "import('/web/js/lib/qr.js').then(({ qr }) => qr('x'.repeat(667))).catch((error) => error.name)"
    assert await ann.page.evaluate(refused) == "RangeError"


def read(rows: list[list[bool]], scale: int = 4, quiet: int = 4) -> str:
    """What a QR code says, drawn as it is shown."""
    side = (len(rows) + 2 * quiet) * scale
    light = bytes([255]) * side
    image = bytearray(light * quiet * scale)
    for row in rows:
        line = bytes([255]) * quiet * scale + b"".join(bytes([255 * (not dark)]) * scale for dark in row)
        image += line.ljust(side, b"\xff") * scale
    image += light * quiet * scale
    (found,) = zxingcpp.read_barcodes(memoryview(image).cast("B", (side, side)))
    return found.text


async def test_the_code_on_the_page_is_the_link(visitors):
    """What a telephone reads off the screen is the link."""
    ann = await visitors()
    link = await ann.create()
    await ann.page.get_by_role("button", name="QR code").click()
    path = await ann.page.locator(".invitation .qr .dark").get_attribute("d")
    dark = {(int(x), int(y)) for x, y in re.findall(r"M(\d+) (\d+)h1v1h-1z", path or "")}
    size = max(x for x, _ in dark) - 3
    assert read([[(x + 4, y + 4) in dark for x in range(size)] for y in range(size)]) == link


def test_modules_are_small():
    """No module of the page is longer than 300 lines."""
    assert [path.name for path in WEB.glob("js/**/*.js") if len(path.read_text().splitlines()) > 300] == []


@pytest.mark.parametrize("language", LANGUAGES)
async def test_it_speaks(visitors, language):
    """The browser's language is spoken from the first page to the chat, and another one can be chosen."""
    ann = await visitors(locale=language)
    said = texts(language)
    await ann.page.goto(ann.base)
    await expect(ann.page.locator("html")).to_have_attribute("lang", language)
    await expect(ann.page.get_by_role("heading", level=1)).to_have_text(said["start.title"])
    await ann.page.get_by_role("button", name=said["start.create"]).click()
    await expect(ann.page.get_by_role("heading", name=said["invitation.title"])).to_be_visible()
    await ann.page.get_by_role("button", name=said["menu"], exact=True).click()
    await ann.page.get_by_role("menuitem", name=said["settings.title"]).click()
    other = "de" if language == "en" else "en"
    await ann.page.get_by_role("dialog").get_by_label(said["settings.language"], exact=True).select_option(other)
    await expect(ann.composer).to_have_attribute("placeholder", texts(other)["composer.placeholder"])
    await expect(ann.page.get_by_role("button", name=texts(other)["composer.send"], exact=True)).to_be_visible()


def closure(*starts: str) -> list[str]:
    """Modules that are fetched when those are, in the order in which they are named."""
    found: list[str] = []
    waiting = list(starts)
    while waiting:
        name = waiting.pop(0)
        if name not in found:
            found.append(name)
            named = re.findall(
                r'^(?:import|export) .*?from "(.+?)";', (JS / name).read_text(), re.MULTILINE | re.DOTALL
            )
            waiting += [str((JS / name).parent.joinpath(one).resolve().relative_to(JS)) for one in named]
    return found


def test_what_is_needed_is_asked_for_at_once():
    """index.html names every module that a first visit needs, so that none waits for the one that imports it."""
    needed = closure("main.js", "views/start.js", "room/open.js", "views/chat.js")
    named = re.findall(r'<link rel="modulepreload" href="/web/js/(.+?)">', (WEB / "index.html").read_text())
    assert named == needed


async def test_weight(visitors):
    """What a person fetches until the first page stands, until their first message, and ever, as it is sent.

    Modules are served as they are written, comments included; docs/page.md says why, and what that costs.
    """
    assets = [path for path in WEB.rglob("*.*") if path.suffix not in (".py", ".pyc")]
    packed = {path: len(gzip.compress(path.read_bytes(), 9)) for path in assets}
    for name in ("types.js", "module-types.js"):  # read by tsc alone
        del packed[JS / name]
    ann = await visitors()
    fetched: set[str] = set()
    ann.page.on("request", lambda request: fetched.add(urlsplit(request.url).path))
    await ann.create()
    await ann.say("first")
    await expect(ann.line("first").get_by_role("img", name="Sent")).to_be_visible()
    paths = {WEB / (path.removeprefix("/web/") if path.startswith("/web/") else "index.html") for path in fetched}
    first_message = sum(packed[path] for path in paths if path in packed)
    static = [JS / name for name in closure("main.js", "views/start.js")]
    first_view = sum(packed[path] for path in (*static, WEB / "index.html", WEB / "style.css", WEB / "i18n/en.json"))
    others = sum(packed[path] for path in packed if path.parent.name == "i18n" and path.stem != "en")
    assert first_view < 25_300
    assert first_message < 123_500
    assert sum(packed.values()) - others < 160_000
