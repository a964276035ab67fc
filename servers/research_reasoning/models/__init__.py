"""The protocol to a language model and its carriers."""
