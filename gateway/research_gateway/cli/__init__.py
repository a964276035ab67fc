"""`research-assistant`: the tools from a shell, the server, its demonstration, and help for those who run it."""

from research_gateway.cli.app import app, main

__all__ = ["app", "main"]
