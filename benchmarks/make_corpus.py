"""Make a large folder of Markdown files from a few texts, for the search benchmark.

    python benchmarks/make_corpus.py TARGET SOURCE... [--files 14300] [--bytes-each 6600] [--seed 7]

SOURCE is a Markdown file, a folder of them, or a BEIR `corpus.jsonl`. Paragraphs are drawn at random, some words are
changed, abstracts are wrapped at 80 characters, so that vocabulary, line lengths and repetition stay lifelike. The same
arguments give the same bytes.
"""

import argparse
import json
import random
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path


def paragraphs(source: Path) -> Iterator[str]:
    if source.is_dir():
        for path in sorted(source.rglob("*.md")):
            yield from paragraphs(path)
    elif source.suffix == ".jsonl":
        for line in source.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            yield textwrap.fill(record["text"], 80)
    else:
        text = source.read_text(encoding="utf-8")
        yield from (part for part in re.split(r"\n\s*\n", text) if not part.startswith("#"))


def changed(text: str, words: list[str], chance: random.Random) -> str:
    """The text with about one word in thirty replaced, and now and then one that exists nowhere else."""
    parts = text.split(" ")
    for index in range(chance.randrange(30), len(parts), 30):
        parts[index] = chance.choice(words) if chance.random() < 0.9 else f"k{chance.randrange(10**7):07d}"
    return " ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", type=Path)
    parser.add_argument("source", type=Path, nargs="+")
    parser.add_argument("--files", type=int, default=14_300)
    parser.add_argument("--bytes-each", type=int, default=6_600)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    pool = [part for source in options.source for part in paragraphs(source)]
    words = sorted({word for part in pool for word in re.findall(r"[A-Za-z]{3,}", part)})
    total = 0
    for number in range(options.files):
        size = int(options.bytes_each * chance.lognormvariate(0, 0.6) / 1.197)
        title = " ".join(chance.sample(words, 4))
        parts, held = [f"# {title}"], 0
        while held < size:
            if chance.random() < 0.12:
                parts.append("## " + " ".join(chance.sample(words, 3)))
            parts.append(changed(chance.choice(pool), words, chance))
            held += len(parts[-1])
        folder = options.target / f"area-{number % 37:02d}" / f"topic-{number % 11:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        data = ("\n\n".join(parts) + "\n").encode()
        (folder / f"note-{number:05d}.md").write_bytes(data)
        total += len(data)
    print(f"{options.files} files, {total / 1e6:.1f} MB in {options.target}")


if __name__ == "__main__":
    main()
