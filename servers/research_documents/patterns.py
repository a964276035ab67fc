"""What is said about a file pattern: how it was read, and what there is where it matches nothing."""

from research_shared.access.globs import compile_pattern, folder_named_by
from research_shared.reading.library import Library
from research_shared.tools.arguments import nothing_matches


def pattern_notes(pattern: str) -> list[str]:
    """A note for a pattern without wildcards that names a folder: it is read as everything below."""
    folder = folder_named_by(pattern)
    return (
        [] if folder is None else [f"file_pattern is read as {folder}/**: everything in the folder {folder}"]
    )


async def nothing_there(library: Library, pattern: str) -> list[str]:
    """A note on what there is, if there are documents within the scope and the pattern matches none of them."""
    paths = [info.path for info in await library.documents()]
    if not paths or any(map(compile_pattern(pattern), paths)):
        return []
    return [nothing_matches(pattern, paths)]
