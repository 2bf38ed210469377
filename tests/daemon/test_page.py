"""The page's files: types, caching, compression, headers; and nothing else of the package."""

from __future__ import annotations

import gzip

import pytest

ROOM = "/6c1f0d5e-3c1b-4a8e-9d42-0f2b8f6f3a11"
FILES = {
    "/": "text/html; charset=utf-8",
    ROOM: "text/html; charset=utf-8",
    "/web/index.html": "text/html; charset=utf-8",
    "/web/js/types.js": "text/javascript; charset=utf-8",
}
# A request library that unpacks by itself would hide what came.
AS_IT_IS = {"decompress_response": False}


@pytest.mark.parametrize(("path", "media_type"), FILES.items())
async def test_a_file_has_its_type_and_may_be_kept_but_not_unasked(relay, path, media_type):
    """Each file of the page, page included, says what it is and is asked for anew each time."""
    answer = await relay.request("GET", path)
    assert answer.code == 200
    assert answer.headers["Content-Type"] == media_type
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "require-trusted-types-for 'script'; trusted-types 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", FILES)
async def test_who_has_a_file_is_not_sent_it_again(relay, path):
    """304 without a body for its tag, and the file for another."""
    first = await relay.request("GET", path)
    same = await relay.request("GET", path, headers={"If-None-Match": first.headers["Etag"]})
    assert (same.code, same.body) == (304, b"")
    other = await relay.request("GET", path, headers={"If-None-Match": '"other"'})
    assert (other.code, other.body) == (200, first.body)


@pytest.mark.parametrize("path", FILES)
async def test_a_file_comes_packed_to_those_who_can_unpack_it(relay, path):
    """The packed one has another tag, as it is another sequence of bytes, and caches are told so."""
    plain = await relay.request("GET", path, **AS_IT_IS)
    packed = await relay.request("GET", path, headers={"Accept-Encoding": "gzip"}, **AS_IT_IS)
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept-Encoding"
    assert plain.headers["Etag"] != packed.headers["Etag"]
    assert gzip.decompress(packed.body) == plain.body


@pytest.mark.parametrize("path", FILES)
async def test_head_says_what_get_would(relay, path):
    """The same headers, without the body."""
    get, head = [await relay.request(method, path) for method in ("GET", "HEAD")]
    assert (head.code, head.body) == (200, b"")
    for name in ("Content-Type", "Content-Length", "Etag", "Content-Security-Policy"):
        assert head.headers[name] == get.headers[name]


@pytest.mark.parametrize(
    "path",
    ["/web/", "/web/__init__.py", "/web/js", "/web/../settings.py", "/web/%2e%2e/settings.py", "/web//etc/passwd"],
)
async def test_nothing_else_is_served(relay, path):
    """What is no file of the page is nowhere, however it is spelt."""
    assert (await relay.request("GET", path)).code == 404
