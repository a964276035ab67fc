"""Mail messages: subject, addresses, date, both bodies, and the attachments that can be read."""

from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage, Message
from email.utils import getaddresses, parsedate_to_datetime

from research_shared.formats._format import DAMAGED, EMPTY, Format, Pages, Reader, Refused
from research_shared.formats._parts.lines import decoded, no_heading, on_one_line
from research_shared.formats._parts.metadata import Metadata
from research_shared.formats._parts.properties import split_keywords
from research_shared.formats._parts.web_page import declared_encoding, html_lines

_SHOWN_HEADERS = ("From", "To", "Cc", "Bcc", "Reply-To", "Date")
_MAX_NESTED_MESSAGES = 5
"""How deep messages may be attached to messages."""


def _header(message: Message, name: str) -> str:
    """Return a header, decoded. Headers that make no sense to the standard library are given as they are."""
    try:
        return on_one_line(str(message.get(name, "")))
    except (ValueError, LookupError, AttributeError, IndexError, TypeError):
        return on_one_line(
            next((str(value) for key, value in message.raw_items() if key.lower() == name.lower()), "")
        )


def _payload(part: Message) -> bytes:
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _text(part: Message) -> str:
    content = _payload(part)
    declared = part.get_content_charset() or ""
    if not declared and part.get_content_type() == "text/html":
        declared = declared_encoding(content)
    return decoded(content, declared)[0]


class _Mail:
    """Collects the lines of a message."""

    def __init__(self, notes: list[str]) -> None:
        self._notes = notes

    def lines(self, message: Message, depth: int) -> Iterator[str]:
        """Yield the headers, the bodies, and the attachments of a message."""
        subject = _header(message, "Subject") or "(no subject)"
        yield f"{'#' * min(depth, 6)} {subject}"
        for name in _SHOWN_HEADERS:
            if value := _header(message, name):
                yield f"{name}: {value}{_iso_date(value) if name == 'Date' else ''}"
        yield from self._parts(message, depth)

    def _parts(self, part: Message, depth: int) -> Iterator[str]:
        if part.get_content_type() == "message/rfc822":
            yield from self._attached_message(part, depth)
        elif part.is_multipart():
            yield from self._bodies(part, depth)
        elif part.get_content_maintype() == "text" and not _file_name(part):
            yield from _body_lines(part)
        elif not part.is_multipart():
            yield from self._attachment(part)

    def _bodies(self, part: Message, depth: int) -> Iterator[str]:
        alternative = part.get_content_type() == "multipart/alternative"
        said: set[str] = set()
        for each in part.get_payload():
            if not isinstance(each, Message):
                continue
            for line in self._parts(each, depth):
                # What the other form of the same body says already is not said twice.
                if not (alternative and on_one_line(line) in said):
                    yield line
                if alternative:
                    said.add(on_one_line(line))

    def _attached_message(self, part: Message, depth: int) -> Iterator[str]:
        inner = part.get_payload()
        attached = inner[0] if isinstance(inner, list) and inner else None
        if depth >= _MAX_NESTED_MESSAGES or not isinstance(attached, Message):
            self._notes.append("an attached message is not read")
            return
        yield "[attachment] message"
        yield from self.lines(attached, depth + 1)

    def _attachment(self, part: Message) -> Iterator[str]:
        name = _file_name(part) or part.get_content_type()
        yield f"[attachment] {name}"
        if part.get_content_maintype() == "text":
            yield from _body_lines(part)
        else:
            yield from self._read_attachment(name, _payload(part))

    def _read_attachment(self, name: str, content: bytes) -> Iterator[str]:
        """Yield the text of an attached document, with the first reader that finds some."""
        from research_shared.formats import format_of, media_type_of

        media_type = media_type_of(name)
        readers = format_of(media_type).readers if media_type else ()
        for reader in readers:
            if reader.open is open_mail or not reader.installed:
                continue
            try:
                pages = reader.open(content, 1, 5_000)
            except Refused:
                continue
            texts = list(pages.texts)
            lines = [
                line for text in texts if isinstance(text, str) for line in text.splitlines() if line.strip()
            ]
            if lines:
                if lost := sum(not isinstance(text, str) for text in texts):
                    self._notes.append(
                        f"{lost} of {len(texts)} pages of the attachment {name} cannot be read"
                    )
                yield from (no_heading(line.lstrip("# ")) for line in lines)
                return
        self._notes.append(f"the attachment {name} is not read")


def _file_name(part: Message) -> str:
    try:
        return on_one_line(part.get_filename() or "")
    except (ValueError, LookupError, AttributeError, IndexError, TypeError):
        return "attachment"


def _body_lines(part: Message) -> Iterator[str]:
    if part.get_content_type() == "text/html":
        yield from html_lines(_text(part), with_title=False)
    else:
        yield from (no_heading(line.rstrip()) for line in _text(part).splitlines() if line.strip())


def _iso_date(value: str) -> str:
    """Return a date in ISO 8601 in parentheses, or nothing for one that cannot be understood."""
    try:
        return f" ({parsedate_to_datetime(value).date().isoformat()})"
    except (ValueError, TypeError, OverflowError):
        return ""


def open_mail(data: bytes, _first: int, _last: int) -> Pages:
    """Open a message."""
    if not data.strip():
        raise Refused(EMPTY)
    notes: list[str] = []
    message = message_from_bytes(data, _class=EmailMessage, policy=policy.default)
    if not message.keys():
        raise Refused(DAMAGED)
    lines = list(_Mail(notes).lines(message, 1))
    return Pages(total=1, texts=iter(("\n".join(lines),)), notes=notes, metadata=_mail_metadata(message))


def _mail_metadata(message: Message) -> Metadata:
    senders = getaddresses([_header(message, "From")])
    return Metadata.of(
        title=_header(message, "Subject"),
        authors=[name or address for name, address in senders],
        date=_iso_date(_header(message, "Date")).strip(" ()"),
        language=_header(message, "Content-Language").partition(",")[0],
        tags=split_keywords([_header(message, "Keywords")]),
    )


FORMATS = (
    Format(
        title="a mail message",
        media_types={".eml": "message/rfc822"},
        readers=(Reader(name="mail", open=open_mail),),
        markdown=True,
        recognises=lambda _data: False,
    ),
)
