"""Notes on a file pattern: how it was read, and what exists if it matches nothing."""

from research_shared.access.globs import compile_pattern, folder_named_by
from research_shared.reading.library import Library
from research_shared.tools.arguments import nothing_matches


def pattern_notes(pattern: str) -> list[str]:
    """Return a note if a pattern without wildcards names a folder and is read as everything below it."""
    folder = folder_named_by(pattern)
    return (
        [] if folder is None else [f"file_pattern is read as {folder}/**: everything in the folder {folder}"]
    )


async def nothing_there(library: Library, pattern: str) -> list[str]:
    """Return a note on what exists, if the scope has documents and the pattern matches none of them."""
    paths = [info.path for info in await library.documents()]
    if not paths or any(map(compile_pattern(pattern), paths)):
        return []
    return [nothing_matches(pattern, paths)]
