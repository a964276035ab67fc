"""What several readers are made of: zip packages and XML, drawings, cells, lines, and web pages."""

__all__: list[str] = []
