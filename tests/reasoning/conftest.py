"""A research folder that the tests write themselves."""

from pathlib import Path

import pytest

TOR = """# Onion routing

Onion routing hides who talks to whom by wrapping a message in layers of encryption.
Each relay removes one layer and learns only its neighbours on the path.

## Limits

A global adversary that watches both ends can still correlate traffic timing.
"""

MIX = """Mix networks

Mix networks delay and reorder messages so that timing reveals little about senders.
The price of that protection is latency, which makes them unsuit-
able for interactive traffic such as web browsing.
"""

CACHE = """# Caches

Least frequently used eviction removes the entry with the smallest use count first.
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "research"
    (root / "notes").mkdir(parents=True)
    (root / "tor.md").write_text(TOR, encoding="utf-8")
    (root / "notes" / "mix.txt").write_text(MIX, encoding="utf-8")
    (root / "cache.md").write_text(CACHE, encoding="utf-8")
    (root / "empty.md").write_text("", encoding="utf-8")
    (root / "broken.pdf").write_bytes(b"%PDF-1.4 not a pdf")
    return root
