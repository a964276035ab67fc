"""Messages of Outlook: their properties, and the compression of their RTF bodies."""

__all__: list[str] = []
