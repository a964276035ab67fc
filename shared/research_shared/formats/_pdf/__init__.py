"""How the text of a PDF's page is found with pdfium: letters with their places, and the lines that they make."""

__all__: list[str] = []
