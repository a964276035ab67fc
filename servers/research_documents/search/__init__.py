"""Keyword and regex search over the library's texts."""
