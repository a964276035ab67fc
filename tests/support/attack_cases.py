"""The attacks, as a table: what is asked, how it must end, and why somebody would ask it."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from support.world import NFC, NFD, READABLE

READ, RESOURCE, SUMMARIZE, SYNTHESIZE = "read", "resource", "summarize", "synthesize"
LIST, SEARCH, REGEX, COMPLETE = "list", "search", "regex", "complete"

NOT_FOUND = "not found"
"""The one answer for everything that is not a document within the scope."""
UNSUPPORTED = "unsupported type"
"""It is there within the scope, and of a type that is not read."""
REFUSED = "refused"
"""An error of any expected kind."""
INVALID = "invalid"
"""The arguments, or the pattern, are refused before anything is looked at."""
TEXT = "text"
"""The document is read: the input looks like an attack, and is a name."""


@dataclass(frozen=True)
class Case:
    """One attack. `{folder}` and `{outside}` in an input stand for directories of the server."""

    id: str
    operation: str
    input: Any
    expectation: Any
    reason: str


PATHS: tuple[tuple[str, Any, str, str], ...] = (
    # Up and out.
    ("parent", "../outside/secret.md", NOT_FOUND, "the classic"),
    ("parent-twice", "../../outside/secret.md", NOT_FOUND, "more of it"),
    ("parent-many", "../" * 50 + "etc/passwd", NOT_FOUND, "up to the root of the file system"),
    ("parent-inside", "notes/../../outside/secret.md", NOT_FOUND, "down first, then up twice"),
    ("parent-back", "../research/notes/plan.md", NOT_FOUND, "out and in again is still out"),
    ("parent-within", "notes/../notes/plan.md", NOT_FOUND, "one document, one path"),
    ("parent-sibling", "../research2/secret.md", NOT_FOUND, "a sibling that shares a prefix"),
    ("prefix-sibling", "../research-secret.md", NOT_FOUND, "a file that shares a prefix"),
    ("parent-missing", "../outside/none.md", NOT_FOUND, "same answer whether or not it is there"),
    ("parent-nested", "....//....//outside/secret.md", NOT_FOUND, "survives one removal of ../"),
    ("parent-dotdot-slash", "..././..././outside/secret.md", NOT_FOUND, "the same, otherwise"),
    ("parent-end", "notes/..", NOT_FOUND, "a directory"),
    ("parent-alone", "..", NOT_FOUND, "a directory"),
    ("dot", ".", NOT_FOUND, "the folder itself"),
    ("dot-prefix", "./notes/plan.md", TEXT, "read as the document that is listed"),
    ("dot-within", "notes/./plan.md", TEXT, "read as the document that is listed"),
    ("double-slash", "notes//plan.md", TEXT, "read as the document that is listed"),
    ("trailing-slash", "notes/plan.md/", TEXT, "read as the document that is listed"),
    ("leading-slash", "/notes/plan.md", TEXT, "read from the folder, never from the root"),
    ("beneath-file", "notes/plan.md/secret.md", NOT_FOUND, "a file is no directory"),
    # Absolute.
    ("absolute", "{outside}/secret.md", NOT_FOUND, "absolute paths name nothing"),
    ("absolute-missing", "{outside}/none.md", NOT_FOUND, "same answer when it is missing"),
    ("absolute-inside", "{folder}/notes/plan.md", NOT_FOUND, "not even within the folder"),
    ("absolute-stripped", "{stripped}/secret.md", NOT_FOUND, "a server that strips the first slash"),
    ("etc-passwd", "/etc/passwd", NOT_FOUND, "everybody's favourite"),
    ("proc-environ", "/proc/self/environ", NOT_FOUND, "keys are in there"),
    ("proc-fd", "/proc/self/fd/3", NOT_FOUND, "a descriptor the server has open"),
    ("proc-cwd", "/proc/self/cwd/secret.md", NOT_FOUND, "magic links"),
    ("dev-stdin", "/dev/stdin", NOT_FOUND, "would block"),
    ("tilde", "~/secret.md", NOT_FOUND, "no home directory is expanded"),
    ("tilde-root", "~root/secret.md", NOT_FOUND, "nor that of another user"),
    ("home-variable", "$HOME/secret.md", NOT_FOUND, "no variable is expanded"),
    ("home-braces", "${{HOME}}/secret.md", NOT_FOUND, "nor in braces"),
    ("command", "$(cat ../outside/secret.md).md", NOT_FOUND, "no shell"),
    ("backquotes", "`cat ../outside/secret.md`.md", NOT_FOUND, "no shell"),
    ("pipe", "|cat ../outside/secret.md", NOT_FOUND, "no shell, no pipe-open"),
    ("file-uri", "file://{outside}/secret.md", NOT_FOUND, "a path is no URI"),
    ("file-uri-short", "file:secret.md", NOT_FOUND, "a path is no URI"),
    ("http-uri", "http://localhost/secret.md", NOT_FOUND, "nothing is fetched"),
    ("resource-uri", "research://documents/notes/plan.md", TEXT, "our own URI of the document"),
    # Encodings.
    ("percent", "%2e%2e/outside/secret.md", NOT_FOUND, "nothing is percent-decoded"),
    ("percent-slash", "..%2foutside%2fsecret.md", NOT_FOUND, "nothing is percent-decoded"),
    ("percent-double", "%252e%252e%252foutside%252fsecret.md", NOT_FOUND, "nor twice"),
    ("percent-overlong", "%c0%ae%c0%ae/outside/secret.md", NOT_FOUND, "overlong UTF-8"),
    ("percent-u", "%u002e%u002e/outside/secret.md", NOT_FOUND, "the encoding of old web servers"),
    ("html", "&#46;&#46;/outside/secret.md", NOT_FOUND, "nor HTML"),
    ("escape-dots", r"\x2e\x2e/outside/secret.md", NOT_FOUND, "our own escapes have one form only"),
    ("escape-slash", r"..\x2foutside\x2fsecret.md", NOT_FOUND, "an escape cannot make a separator"),
    ("escape-letter", r"notes/pl\x61n.md", NOT_FOUND, "one document, one path"),
    ("escape-upper", r"caf\xE9.md", TEXT, "the one listed document in another case"),
    ("escape-nul", r"notes/plan.md\x00", NOT_FOUND, "an escape cannot make a NUL"),
    ("escape-half", r"caf\xe.md", NOT_FOUND, "half an escape"),
    ("escape-utf8", r"Gr\xc3\xb6\xc3\x9fe.md", NOT_FOUND, "what can be shown is not escaped"),
    ("backslash", "..\\outside\\secret.md", NOT_FOUND, "no separator of Windows"),
    ("backslash-mixed", "..\\../outside/secret.md", NOT_FOUND, "nor mixed"),
    ("backslash-raw", "back\\slash.md", NOT_FOUND, "a backslash is shown doubled"),
    ("nul", "notes/plan.md\0", NOT_FOUND, "no C string ends early"),
    ("nul-suffix", "../outside/secret.md\0.md", NOT_FOUND, "the suffix check is not fooled"),
    ("nul-middle", "no\0tes/plan.md", NOT_FOUND, "NUL is in no name"),
    ("newline", "notes/plan.md\n", TEXT, "blanks around a path are no part of it"),
    ("newline-raw", "two\nlines.md", NOT_FOUND, "control characters are escaped"),
    ("crlf", "notes/plan.md\r\nX-Header: 1", NOT_FOUND, "no header, no log line of its own"),
    ("escape-sequence", "\x1b[2Jnotes/plan.md", NOT_FOUND, "no terminal is driven"),
    ("tab", "\tnotes/plan.md", TEXT, "blanks around a path are no part of it"),
    ("space-before", " notes/plan.md", TEXT, "blanks around a path are no part of it"),
    ("space-after", "notes/plan.md ", TEXT, "blanks around a path are no part of it"),
    ("dot-after", "notes/plan.md.", NOT_FOUND, "nor a dot, as Windows would"),
    ("dots-spaces", "notes/plan.md. . .", NOT_FOUND, "nor both"),
    ("space-dotdot", ".. /outside/secret.md", NOT_FOUND, "'.. ' is not '..'"),
    ("surrogate", "\ud800.md", REFUSED, "half a character"),
    ("surrogate-escape", "caf\udce9.md", REFUSED, "how Python writes a byte that is not UTF-8"),
    ("fullwidth-dots", "\uff0e\uff0e/outside/secret.md", NOT_FOUND, "compatibility forms are not folded"),
    ("fullwidth-slash", "..\uff0foutside\uff0fsecret.md", NOT_FOUND, "compatibility forms are not folded"),
    ("division-slash", "..\u2215outside\u2215secret.md", NOT_FOUND, "nor look-alikes"),
    ("one-dot-leader", "\u2024\u2024/outside/secret.md", NOT_FOUND, "nor look-alikes"),
    ("nfd", NFD, TEXT, "the other normal form of the one listed name"),
    ("case", "NOTES/PLAN.MD", TEXT, "the one listed document in another case"),
    ("zero-width", "notes/pl\u200ban.md", NOT_FOUND, "invisible characters count"),
    ("bidi", "\u202efdp.md", NOT_FOUND, "and are escaped, so that nobody is misled"),
    ("bom", "\ufeffnotes/plan.md", NOT_FOUND, "nothing is stripped"),
    # Forms of Windows.
    ("drive", "C:\\Windows\\win.ini", NOT_FOUND, "drives"),
    ("drive-relative", "C:notes/plan.md", NOT_FOUND, "drives"),
    ("unc", "\\\\server\\share\\secret.md", NOT_FOUND, "network shares"),
    ("device-path", "\\\\?\\C:\\secret.md", NOT_FOUND, "device paths"),
    ("stream", "notes/plan.md::$DATA", NOT_FOUND, "alternate streams"),
    ("short-name", "NOTES~1/PLAN~1.MD", NOT_FOUND, "8.3 names"),
    ("reserved", "aux.md", NOT_FOUND, "reserved names"),
    # Links.
    ("link-out", "out.md", NOT_FOUND, "a link that leaves"),
    ("link-out-pdf", "out.pdf", NOT_FOUND, "a link that leaves, to a worker"),
    ("link-out-directory", "outdir/secret.md", NOT_FOUND, "through a directory that leaves"),
    ("link-out-deeper", "outdir/deep/secret.md", NOT_FOUND, "and deeper"),
    ("link-out-missing", "outdir/none.md", NOT_FOUND, "same answer when it is missing"),
    ("link-out-below", "notes/out.md", NOT_FOUND, "from below"),
    ("link-out-below-directory", "notes/2024/outdir/secret.md", NOT_FOUND, "from further below"),
    ("link-out-and-back", "leave-and-return.md", NOT_FOUND, "leaving is refused, returning or not"),
    ("link-double", "double/secret.md", NOT_FOUND, "a link to a link that leaves"),
    ("link-dangling", "dangling.md", NOT_FOUND, "same answer when the target is missing"),
    ("link-nowhere", "nowhere.md", NOT_FOUND, "dangling inside"),
    ("link-sibling", "sibling.md", NOT_FOUND, "a sibling that shares a prefix"),
    ("link-absolute", "absolute.md", NOT_FOUND, "an absolute link"),
    ("link-absolute-directory", "absolutedir/secret.md", NOT_FOUND, "an absolute link"),
    ("link-absolute-inside", "absolute-inside.md", NOT_FOUND, "even when it leads inside"),
    ("link-slash", "slash/etc/passwd.md", NOT_FOUND, "a link to the root of the file system"),
    ("link-environ", "environ.md", NOT_FOUND, "the server's environment"),
    ("link-cwd", "cwd/README.md", NOT_FOUND, "a magic link"),
    ("link-procroot", "procroot{outside}/secret.md", NOT_FOUND, "a magic link"),
    ("link-fd", "fd.md", NOT_FOUND, "the server's standard input would block"),
    ("link-passwd", "passwd.md", NOT_FOUND, "a document by its name only"),
    ("link-parent", "parent/outside/secret.md", NOT_FOUND, "a link to the directory above"),
    ("link-parent-in-disguise", "notes/parent/parent/outside/secret.md", NOT_FOUND, "twice up by links"),
    ("link-loop", "loop.md", NOT_FOUND, "a loop ends"),
    ("link-ping-pong", "ping.md", NOT_FOUND, "a loop of two ends"),
    ("link-self", "/".join(["self"] * 60) + "/notes/plan.md", NOT_FOUND, "too many links"),
    ("link-chain", "chain49.md", NOT_FOUND, "a long chain that leaves"),
    ("link-chain-short", "chain3.md", NOT_FOUND, "a short chain that leaves"),
    ("link-hidden", "to-hidden.md", NOT_FOUND, "a link does not unhide"),
    ("link-hidden-directory", "to-git/config.md", NOT_FOUND, "nor does a directory's"),
    ("link-directory", "to-directory.md", NOT_FOUND, "a directory is no document"),
    ("link-inside", "ok.md", TEXT, "a relative link that stays is followed"),
    ("link-inside-directory", "okdir/plan.md", TEXT, "so is a directory's"),
    ("link-inside-up", "notes/2024/up.md", TEXT, "so is one that goes up and stays"),
    ("link-there-and-back", "there-and-back.md", TEXT, "so is one with detours"),
    ("link-self-once", "self/self/notes/plan.md", TEXT, "a few links are fine"),
    ("hard-link", "hard.md", TEXT, "a hard link is a file of the folder: the policy says so"),
    # Hidden, other types, special files.
    ("hidden", ".secret.md", NOT_FOUND, "hidden names are not served"),
    ("hidden-directory", ".git/config.md", NOT_FOUND, "nor what hidden directories hold"),
    ("hidden-below", "notes/.draft.md", NOT_FOUND, "at any depth"),
    ("hidden-deep", "notes/.trash/old.md", NOT_FOUND, "at any depth"),
    ("hidden-by-link", "self/.secret.md", NOT_FOUND, "by any way"),
    ("hidden-dots", "...md", NOT_FOUND, "a name that begins with dots"),
    ("type-image", "photo.png", UNSUPPORTED, "no document"),
    ("type-none", "passwd", UNSUPPORTED, "no document"),
    ("directory", "notes", NOT_FOUND, "no document"),
    ("directory-named", "directory.md", NOT_FOUND, "a directory with a document's name"),
    ("fifo", "fifo.md", NOT_FOUND, "would block for ever"),
    ("fifo-pdf", "fifo.pdf", NOT_FOUND, "would block a worker"),
    ("fifo-link", "fifolink.md", NOT_FOUND, "by a link"),
    ("socket", "socket.md", NOT_FOUND, "cannot be opened"),
    ("device-null", "null.md", NOT_FOUND, "not a regular file"),
    ("device-zero", "zero.md", NOT_FOUND, "never ends"),
    ("device-random", "random.pdf", NOT_FOUND, "never ends"),
    # Size and type.
    ("empty", "", REFUSED, "no name at all"),
    ("long-component", "n" * 300 + ".md", NOT_FOUND, "longer than a name may be"),
    ("long-path", "d/" * 2_500 + "a.md", REFUSED, "longer than a path may be"),
    ("megabyte", "a" * 2**20 + ".md", REFUSED, "not looked at"),
    ("megabyte-parents", "../" * 350_000, REFUSED, "not looked at"),
    ("megabyte-escapes", r"\x41" * 260_000, REFUSED, "not looked at"),
    ("type-null", None, INVALID, "no string"),
    ("type-number", 7, NOT_FOUND, "no document has this name"),
    ("type-list", ["notes/plan.md"], TEXT, "a list of one"),
    ("type-object", {"path": "notes/plan.md"}, INVALID, "no string"),
    ("type-true", True, INVALID, "no string"),
    # Names that only look like attacks.
    ("name-percent", "100%41.md", TEXT, "a name with a percent sign"),
    ("name-percent-parent", "%2e%2e%2foutside%2fsecret.md", TEXT, "a name, whatever it decodes to"),
    ("name-home", "$HOME.md", TEXT, "a name with a dollar sign"),
    ("name-tilde", "~.md", TEXT, "a name with a tilde; there is another outside"),
    ("name-braces", "{{a,b}}.md", TEXT, "a name with braces"),
    ("name-brackets", "[x].md", TEXT, "a name with brackets"),
    ("name-dash", "-rf.md", TEXT, "a name like an option"),
    ("name-spaces", "a.md .md", TEXT, "a name with a space"),
    ("name-drive", "c:notes.md", TEXT, "a name like a drive"),
    ("name-reserved", "con.md", TEXT, "a name that Windows reserves"),
    ("name-sql", "'; DROP TABLE.md", TEXT, "a name like a statement"),
    ("name-html", "<script>.md", TEXT, "a name like a tag"),
    ("name-fullwidth", "\uff0e\uff0e.md", TEXT, "a name of full-width dots"),
    ("name-nfc", NFC, TEXT, "a name that is not ASCII"),
    ("name-not-utf8", r"caf\xe9.md", TEXT, "a name that is not UTF-8, as it is listed"),
    ("name-newline", r"two\x0alines.md", TEXT, "a name with a line break, as it is listed"),
    ("name-backslash", r"back\\slash.md", TEXT, "a name with a backslash, as it is listed"),
    ("name-bidi", r"\xe2\x80\xaefdp.md", TEXT, "a name that turns text round, as it is listed"),
)

SOME = {
    "parent", "parent-missing", "absolute", "percent-double", "link-out", "link-out-directory", "link-absolute",
    "link-environ", "link-loop", "hidden", "hidden-directory", "fifo", "nul-suffix", "megabyte", "type-image",
}  # fmt: skip
"""Paths that are tried with the tools that read documents for a model, too."""

URIS: tuple[tuple[str, str, str, str], ...] = (
    ("plain", "notes/plan.md", TEXT, "what the resource is for"),
    ("encoded-once", "notes%2Fplan.md", TEXT, "decoded once, as URIs are"),
    ("name-not-utf8", quote(r"caf\xe9.md"), TEXT, "an escaped name, in a URI"),
    ("name-percent", "100%2541.md", TEXT, "a percent sign, encoded as URIs do"),
    ("parent", "../outside/secret.md", REFUSED, "up and out"),
    ("parent-many", "../" * 20 + "etc/passwd", REFUSED, "up to the root"),
    ("percent", "%2e%2e/outside/secret.md", REFUSED, "decoded once, refused after"),
    ("percent-slash", "..%2foutside%2fsecret.md", REFUSED, "decoded once, refused after"),
    ("percent-all", "%2e%2e%2foutside%2fsecret.txt", REFUSED, "decoded once, refused after"),
    ("percent-double", "%252e%252e%252foutside%252fsecret.txt", REFUSED, "never decoded twice"),
    ("absolute", "/{stripped}/secret.md", REFUSED, "an absolute path behind the prefix"),
    ("absolute-encoded", "%2f{stripped}%2fsecret.md", REFUSED, "the same, encoded"),
    ("nul", "notes/plan.md%00", REFUSED, "NUL"),
    ("nul-suffix", "..%2foutside%2fsecret.md%00.md", REFUSED, "NUL before the suffix"),
    ("link-out", "out.md", REFUSED, "a link that leaves"),
    ("link-directory", "outdir/secret.md", REFUSED, "a directory that leaves"),
    ("link-absolute", "absolute.md", REFUSED, "an absolute link"),
    ("hidden", ".secret.md", REFUSED, "a hidden name"),
    ("hidden-directory", ".git/config.md", REFUSED, "a hidden directory"),
    ("fifo", "fifo.md", REFUSED, "would block"),
    ("directory", "notes", REFUSED, "no document"),
    ("query", "notes/plan.md?path=../outside/secret.md", TEXT, "a query is no second path"),
    ("fragment", "notes/plan.md#../outside/secret.md", TEXT, "nor is a fragment"),
    ("backslash", "..%5coutside%5csecret.md", REFUSED, "no separator of Windows"),
)

EVERYTHING = frozenset(READABLE)
NOTHING: frozenset[str] = frozenset()
MARKDOWN = frozenset(path for path in READABLE if path.endswith(".md"))

PATTERNS: tuple[tuple[str, Any, Any, str], ...] = (
    ("star", "*", EVERYTHING, "everything that is a document, and nothing else"),
    ("stars", "**", EVERYTHING, "the same"),
    ("stars-star", "**/*", EVERYTHING, "the same"),
    ("suffix", "*.md", MARKDOWN, "at any depth"),
    ("parent", "../*", NOTHING, "patterns are matched against paths, never expanded"),
    ("parent-stars", "../**", NOTHING, "nor with two stars"),
    ("parent-deep", "../../**/*", NOTHING, "nor further up"),
    ("parent-named", "../outside/*", NOTHING, "nor by name"),
    ("parent-file", "../outside/secret.md", NOTHING, "nor without a star"),
    ("parent-within", "notes/../../outside/*", NOTHING, "nor from below"),
    ("stars-parent", "**/..", NOTHING, "no directory is listed"),
    ("stars-parent-star", "**/../*", NOTHING, "nor what is in it"),
    ("absolute", "/*", EVERYTHING, "the root is the folder's, never the file system's"),
    ("absolute-etc", "/etc/*", NOTHING, "absolute patterns match no path"),
    ("absolute-outside", "{outside}/*", NOTHING, "absolute patterns match no path"),
    ("absolute-inside", "{folder}/*", NOTHING, "not even within the folder"),
    ("tilde", "~/*", NOTHING, "no home directory"),
    ("variable", "$HOME/*", NOTHING, "no variable"),
    ("link-out", "outdir/*", NOTHING, "not through a link"),
    ("link-out-stars", "outdir/**", NOTHING, "not through a link"),
    ("link-absolute", "absolutedir/**", NOTHING, "not through a link"),
    ("link-out-file", "out.*", NOTHING, "nor the link itself"),
    ("link-self", "self/**", NOTHING, "links to directories are not walked, so nothing loops"),
    ("hidden", ".*", NOTHING, "hidden names are not listed, even when asked for"),
    ("hidden-stars", "**/.*", NOTHING, "at any depth"),
    ("hidden-git", ".git/**", NOTHING, "nor what is in them"),
    ("special", "fifo*", NOTHING, "FIFOs are not listed"),
    ("class", "[n]otes/*.md", frozenset({"notes/plan.md"}), "classes work"),
    ("class-dots", "[.][.]/*", NOTHING, "and cannot spell two dots"),
    ("class-slash", "notes[/]plan.md", NOTHING, "and never match a separator"),
    ("class-open", "[", NOTHING, "an open bracket is itself"),
    ("class-open-many", "[" * 500, NOTHING, "however many"),
    ("braces", "{{notes,outside}}/*.md", frozenset({"notes/plan.md"}), "alternatives work"),
    ("braces-parent", "{{..,notes}}/{{outside,x}}/*", NOTHING, "and lead nowhere else"),
    ("braces-absolute", "{{,/etc}}/*", NOTHING, "and lead nowhere else"),
    ("braces-deep", "{{a," * 150 + "x" + "}}" * 150, NOTHING, "nesting is bounded"),
    ("braces-product", "{{a,b}}" * 150, NOTHING, "a product of 2^150 is not written out"),
    ("stars-many", "*a" * 40, NOTHING, "would take for ever with backtracking"),
    ("stars-many-b", "*a*" * 300 + "b", NOTHING, "more of it"),
    ("directories-many", "**/" * 200 + "plan.md", frozenset({"notes/plan.md"}), "would walk for ever"),
    ("questions", "?" * 900, NOTHING, "nothing is that long"),
    ("backslashes", "\\" * 900, NOTHING, "a backslash is itself"),
    ("regex", "(a+)+$", NOTHING, "no regular expression"),
    ("nul", "*\0*", NOTHING, "NUL is in no path"),
    ("newline", "*\n*", NOTHING, "control characters are escaped in paths"),
    ("surrogate", "\ud800*", INVALID, "half a character"),
    ("long", "a" * 2_000, INVALID, "too long"),
    ("megabyte", "*" * 2**20, INVALID, "far too long"),
    ("type-null", None, EVERYTHING, "the default"),
    ("type-list", ["*"], EVERYTHING, "a list of one"),
    ("type-object", {"a": "*"}, INVALID, "no string"),
)

SEARCHED = {
    "star", "suffix", "parent", "parent-stars", "stars-parent", "absolute-outside", "link-out", "link-out-stars",
    "hidden", "hidden-git", "special", "stars-many", "directories-many", "braces-product", "megabyte", "surrogate",
}  # fmt: skip

COMPLETIONS: tuple[tuple[str, str, str], ...] = (
    ("empty", "", "everything that is a document"),
    ("parent", "../", "nothing above"),
    ("parent-outside", "../outside/", "nothing outside"),
    ("absolute", "/", "nothing absolute"),
    ("outside", "outside", "not even the name"),
    ("secret", "secret", "not even the name"),
    ("hidden", ".", "no hidden name"),
    ("link-out", "outdir/", "nothing through a link"),
    ("nul", "\0", "NUL"),
    ("megabyte", "a" * 2**20, "a megabyte"),
)


def all_cases() -> list[Case]:
    """The whole table."""
    cases = [Case(f"read-{name}", READ, *rest) for name, *rest in PATHS]
    cases += [Case(f"resource-{name}", RESOURCE, *rest) for name, *rest in URIS]
    for operation in (SUMMARIZE, SYNTHESIZE):
        cases += [Case(f"{operation}-{name}", operation, *rest) for name, *rest in PATHS if name in SOME]
    cases += [Case(f"list-{name}", LIST, *rest) for name, *rest in PATTERNS]
    for operation in (SEARCH, REGEX):
        cases += [
            Case(f"{operation}-{name}", operation, *rest) for name, *rest in PATTERNS if name in SEARCHED
        ]
    cases += [Case(f"complete-{name}", COMPLETE, typed, None, reason) for name, typed, reason in COMPLETIONS]
    return cases
