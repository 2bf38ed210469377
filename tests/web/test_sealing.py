"""The page seals as the vectors say, and as the Python client does."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = ROOT / "relayd/web/js"
VECTORS = ROOT / "tests/vectors/sealing-vectors.json"
CONFIRMATIONS = ROOT / "tests/vectors/key-confirmation-vectors.json"
MONITOR = ROOT / "tests/vectors/key-monitor-vectors.json"


def find_node() -> str:
    """Node, if there is one that can load the page's modules."""
    node = shutil.which("node") or shutil.which("node", path=str(ROOT / ".venv/bin"))
    if node is None:
        pytest.skip("there is no node")
    version = subprocess.check_output([node, "-p", "process.versions.node"], text=True)
    if tuple(map(int, version.split("."))) < (20, 19):
        pytest.skip("the page's modules have no package.json beside them: that takes Node 20.19")
    return node


async def in_node(script: Path, *arguments: object) -> str:
    """What a script prints."""
    node = find_node()
    process = await asyncio.create_subprocess_exec(
        node, script, *map(str, arguments), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


async def test_vectors_in_node():
    """Keys, bodies, direct messages, rekeys, files, links and codes; and what must be refused, is."""
    result = json.loads(await in_node(Path(__file__).with_name("vectors-in-node.js"), MODULES, VECTORS))
    assert result["wrong"] == []
    assert result["checked"] > 200


async def test_key_confirmations_in_node():
    """What the owner signs, what is believed of it, and when a warning is due, as in the Python client."""
    script = Path(__file__).with_name("key-confirmations-in-node.js")
    result = json.loads(await in_node(script, MODULES, CONFIRMATIONS, MONITOR))
    assert result["wrong"] == []
    assert result["checked"] > 300


async def test_sha256_in_node():
    """Piece by piece the same as at once, for every length around a block."""
    result = json.loads(await in_node(Path(__file__).with_name("sha256-in-node.js"), MODULES))
    assert result == {"wrong": []}
