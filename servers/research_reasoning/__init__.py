"""The reasoning server: summarize and synthesize with a language model, with evidence that is checked."""
