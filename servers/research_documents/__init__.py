"""The documents server: list, search and read, deterministic and without a language model."""
