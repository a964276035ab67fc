"""Files of which no format is known: how they are counted, and what people can do about them."""

from collections import Counter
from collections.abc import Iterable

from research_shared.formats import ENCRYPTED, NO_TEXT

MAX_KINDS = 10
"""How many kinds of files a count names."""
_NO_SUFFIX = "without a suffix"
_SAVE_AS = {
    suffix: successor
    for successor, suffixes in {
        ".docx": (".doc", ".dot", ".wps", ".pages"),
        ".xlsx": (".xls", ".xlt", ".xlsb", ".numbers"),
        ".pptx": (".ppt", ".pps", ".pot", ".key"),
        ".pdf": (".vsd", ".vsdx", ".dwg", ".dxf", ".pub", ".xps", ".ps", ".djvu", ".one", ".mpp"),
        ".epub": (".mobi", ".azw3"),
    }.items()
    for suffix in suffixes
}
_IN_SHORT = {ENCRYPTED: "password", NO_TEXT: "scanned?"}
_IMAGES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".gif", ".bmp", ".heic", ".webp"})
_ARCHIVES = frozenset({".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz"})


def kind_of_file(path: str) -> str:
    """Return the suffix of a file's name in lower case, or words for a file without one.

    >>> kind_of_file("plans/Hall.DWG"), kind_of_file("plans/Makefile")
    ('.dwg', 'without a suffix')
    """
    stem, dot, suffix = path.rpartition("/")[2].rpartition(".")
    return dot + suffix.lower() if stem and suffix else _NO_SUFFIX


def remedy(path: str) -> str:
    """Return what people can do so that a file of this name can be read."""
    kind = kind_of_file(path)
    if successor := _SAVE_AS.get(kind):
        return f"Save it as {successor} in the program that wrote it."
    if kind in _IMAGES:
        return "Save the text of the picture as a PDF or text file."
    if kind in _ARCHIVES:
        return "Unpack the archive into the research folder."
    return "Save it as PDF, Markdown or plain text."


def _kind_with_reason(path: str, reason: str) -> str:
    return f"{kind_of_file(path)} ({_IN_SHORT.get(reason, reason)})"


def count_of_unread(paths: Iterable[str], unreadable: Iterable[tuple[str, str]] = ()) -> str | None:
    """Return how many files of which kinds are not read, in words, or None without any.

    `paths` are files of which no format is known, `unreadable` documents without text and the reason.

    >>> count_of_unread(["a.dwg", "b/c.dwg", "d.DOC"], [("e.docx", "encrypted")])
    'not read: 2 .dwg, 1 .doc, 1 .docx (password)'
    """
    kinds = (*map(kind_of_file, paths), *(_kind_with_reason(path, reason) for path, reason in unreadable))
    counts = sorted(Counter(kinds).items(), key=lambda found: (-found[1], found[0]))
    if not counts:
        return None
    named = [f"{count} {kind}" for kind, count in counts[:MAX_KINDS]]
    if more := sum(count for _, count in counts[MAX_KINDS:]):
        named.append(f"{more} of other types")
    return f"not read: {', '.join(named)}"
