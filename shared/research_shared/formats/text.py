"""Text files: plain text and Markdown. Another kind of text file is one more entry here, or a file like this one."""

from research_shared.formats import Format

FORMATS = (
    Format(title="a text file", media_types={".txt": "text/plain", ".text": "text/plain"}),
    Format(
        title="a Markdown file",
        media_types={".md": "text/markdown", ".markdown": "text/markdown"},
        markdown=True,
    ),
)
