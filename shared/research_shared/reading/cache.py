"""The texts that are kept in memory, bounded by their size."""

from collections import OrderedDict

from research_shared.documents import DocumentText, Identity

Key = tuple[Identity, str]
"""What a file was, and the media type that it is read as."""
_ENTRY_BYTES = 1024


class TextCache:
    """LRU cache of texts, bounded by bytes."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._texts: OrderedDict[Key, tuple[DocumentText, int]] = OrderedDict()
        self.held_bytes = 0

    def __len__(self) -> int:
        return len(self._texts)

    def get(self, key: Key) -> DocumentText | None:
        """Return the text for a key and mark it as the most recently used one, or None."""
        if key not in self._texts:
            return None
        self._texts.move_to_end(key)
        return self._texts[key][0]

    def put(self, key: Key, text: DocumentText) -> None:
        """Keep a text, unless it alone is too large, and let others go for it."""
        # The array of line starts that the text makes for itself is counted too.
        size = len(text.data) + 8 * text.data.count(b"\n") + 8 * len(text.page_starts) + _ENTRY_BYTES
        if size > self._most:
            return
        self.held_bytes -= self._texts.pop(key, (None, 0))[1]
        while self.held_bytes + size > self._most:
            self.held_bytes -= self._texts.popitem(last=False)[1][1]
        self._texts[key] = (text, size)
        self.held_bytes += size

    def clear(self) -> None:
        """Let all texts go."""
        self._texts.clear()
        self.held_bytes = 0
