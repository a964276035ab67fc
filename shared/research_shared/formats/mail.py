"""Mail messages, of the Internet and of Outlook: subject, addresses, date, both bodies, and the attachments that can be read."""

from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage, Message
from email.utils import getaddresses, parsedate_to_datetime
from importlib import import_module
from typing import TYPE_CHECKING

from research_shared.formats._format import DAMAGED, EMPTY, Format, Pages, Reader, Refused
from research_shared.formats._parts.lines import decoded, no_heading, on_one_line
from research_shared.formats._parts.metadata import Metadata
from research_shared.formats._parts.properties import split_keywords
from research_shared.formats._parts.web_page import declared_encoding, html_lines
from research_shared.text.sizes import counted

if TYPE_CHECKING:
    from datetime import datetime
    from types import ModuleType

    from research_shared.formats._mail.outlook import MessageStore

_SHOWN_HEADERS = ("From", "To", "Cc", "Bcc", "Reply-To", "Date")
_NO_SUBJECT = "(no subject)"
_COMPOUND_FILE_MARK = bytes.fromhex("d0cf11e0a1b11ae1")
_MAX_BODY_BYTES = 64 * 1024 * 1024
_MAX_RECIPIENTS = 300
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
        subject = _header(message, "Subject") or _NO_SUBJECT
        yield f"{'#' * min(depth, 6)} {subject}"
        for name in _SHOWN_HEADERS:
            if value := _header(message, name):
                yield f"{name}: {value}{_iso_date(value) if name == 'Date' else ''}"
        yield from self._parts(message, depth)

    def _parts(self, part: Message, depth: int) -> Iterator[str]:
        if part.get_content_type() in {"message/rfc822", "message/global"}:
            yield from self._attached_message(part, depth)
        elif part.get_content_maintype() == "message" and part.is_multipart():
            yield from _reported_fields(part)
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
            lines = list(self._parts(each, depth))
            # What another form of the same body says already is not said twice.
            yield from (line for line in lines if not (alternative and on_one_line(line) in said))
            said.update(map(on_one_line, lines))

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
            yield from _attached_lines(name, _payload(part), self._notes)


def _reported_fields(part: Message) -> Iterator[str]:
    """Yield the fields of a report, such as why a message could not be delivered. Each of its blocks is a message."""
    yield f"[attachment] {part.get_content_type()}"
    for block in part.get_payload():
        if isinstance(block, Message):
            yield from (f"{name}: {on_one_line(str(value))}" for name, value in block.items())


def _attached_lines(name: str, content: bytes, notes: list[str]) -> Iterator[str]:
    """Yield the text of an attached document, with the first reader that finds some."""
    from research_shared.formats import format_of, media_type_of

    media_type = media_type_of(name)
    found = format_of(media_type) if media_type else None
    if found is not None and found.is_text:
        yield from (no_heading(line.rstrip()) for line in decoded(content)[0].splitlines() if line.strip())
        return
    for reader in found.readers if found is not None else ():
        if reader.open in {open_mail, open_outlook} or not reader.installed:
            continue
        try:
            pages = reader.open(content, 1, 5_000)
            texts = list(pages.texts)
        except Refused:
            continue
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001  (any fault of an attachment costs the attachment, and it is named)
            break
        lines = [
            line for text in texts if isinstance(text, str) for line in text.splitlines() if line.strip()
        ]
        if lines:
            if lost := sum(not isinstance(text, str) for text in texts):
                notes.append(
                    f"{lost} of {counted(len(texts), 'page')} of the attachment {name} cannot be read"
                )
            yield from (no_heading(line.lstrip("# ")) for line in lines)
            return
    notes.append(f"the attachment {name} is not read")


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


def open_outlook(data: bytes, _first: int, _last: int) -> Pages:
    """Open a message of Outlook."""
    from research_shared.formats._mail.outlook import MessageStore

    if not data:
        raise Refused(EMPTY)
    notes: list[str] = []
    message = _Outlook(MessageStore(data), notes)
    lines = list(message.lines((), 1))
    if len(lines) == 1 and lines[0] == f"# {_NO_SUBJECT}":
        raise Refused(EMPTY if message.is_message else DAMAGED)
    return Pages(total=1, texts=iter(("\n".join(lines),)), notes=notes, metadata=message.metadata())


class _Outlook:
    """Collects the lines of a message of Outlook."""

    def __init__(self, store: "MessageStore", notes: list[str]) -> None:
        self._store = store
        self._notes = notes

    @property
    def is_message(self) -> bool:
        """Return whether there are properties of a message at all."""
        return self._store.has(("__properties_version1.0",))

    def metadata(self) -> Metadata:
        """Return what the message says about itself."""
        sender, _ = self._sender(())
        moment = self._moment(())
        return Metadata.of(
            title=on_one_line(self._store.text((), outlook().SUBJECT)),
            authors=[sender],
            date=moment.date().isoformat() if moment else "",
        )

    def lines(self, place: tuple[str, ...], depth: int) -> Iterator[str]:
        """Yield the headers, the bodies and the attachments of a message."""
        known, text = outlook(), self._store.text
        yield f"{'#' * min(depth, 6)} {on_one_line(text(place, known.SUBJECT)) or _NO_SUBJECT}"
        if sender := " ".join(filter(None, self._sender(place))):
            yield f"From: {sender}"
        recipients = list(self._recipients(place))
        for number, (name, tag) in enumerate(
            (("To", known.TO), ("Cc", known.CC), ("Bcc", known.BCC)), start=1
        ):
            people = [each for kind, each in recipients if kind == number]
            if shown := "; ".join(people) or on_one_line(text(place, tag)):
                yield f"{name}: {shown}"
        if moment := self._moment(place):
            yield f"Date: {moment:%Y-%m-%d %H:%M} UTC"
        yield from self._body(place)
        for attachment in self._store.within(place, "__attach"):
            yield from self._attachment(attachment, depth)

    def _sender(self, place: tuple[str, ...]) -> tuple[str, str]:
        known, text = outlook(), self._store.text
        name = text(place, known.SENDER_NAME) or text(place, known.SENT_AS_NAME)
        addresses = (known.SENDER_SMTP, known.SENT_AS_SMTP, known.SENDER_ADDRESS, known.SENT_AS_ADDRESS)
        return on_one_line(name), _bracketed(name, [text(place, tag) for tag in addresses])

    def _recipients(self, place: tuple[str, ...]) -> Iterator[tuple[int, str]]:
        known, text = outlook(), self._store.text
        everybody = list(self._store.within(place, "__recip"))
        if len(everybody) > _MAX_RECIPIENTS:  # finding a stream takes longer the more there are
            self._notes.append(
                f"the addresses of its {len(everybody)} recipients are not read, but their names"
            )
            return
        for each in everybody:
            name = on_one_line(text(each, known.RECIPIENT_NAME))
            address = _bracketed(
                name, [text(each, tag) for tag in (known.RECIPIENT_SMTP, known.RECIPIENT_ADDRESS)]
            )
            yield self._store.number(each, known.RECIPIENT_KIND) or 1, " ".join(filter(None, (name, address)))

    def _moment(self, place: tuple[str, ...]) -> "datetime | None":
        known = outlook()
        return self._store.moment(place, known.SUBMITTED) or self._store.moment(place, known.DELIVERED)

    def _body(self, place: tuple[str, ...]) -> Iterator[str]:
        """Yield the plain body, then what only its other form says."""
        said: set[str] = set()
        for line in self._store.text(place, outlook().BODY).splitlines():
            if line.strip():
                said.add(on_one_line(line))
                yield no_heading(line.rstrip())
        for line in self._markup(place, plain=bool(said)):
            if on_one_line(line) not in said:
                yield line

    def _markup(self, place: tuple[str, ...], *, plain: bool) -> Iterator[str]:
        from research_shared.formats._mail.compressed_rtf import decompressed_rtf
        from research_shared.formats.rtf import open_rtf

        text, data = self._store.markup(place)
        if data and not (declared := declared_encoding(data)):
            text = self._store.decoded(data, place)
        elif data:
            text = decoded(data, declared)[0]
        if text:
            yield from html_lines(text, with_title=False)
        elif not plain and (compressed := self._store.binary(place, outlook().COMPRESSED_RTF)):
            try:
                pages = open_rtf(decompressed_rtf(compressed, _MAX_BODY_BYTES), 1, 1)
            except Refused as refusal:
                if refusal.reason != EMPTY:
                    self._notes.append("its body is damaged")
                return
            yield from (
                no_heading(line.lstrip("# ")) for page in pages.texts for line in str(page).splitlines()
            )

    def _attachment(self, place: tuple[str, ...], depth: int) -> Iterator[str]:
        known = outlook()
        inner = self._store.embedded(place)
        if inner is not None:
            if depth >= _MAX_NESTED_MESSAGES:
                self._notes.append("an attached message is not read")
                return
            yield "[attachment] message"
            yield from self.lines(inner, depth + 1)
            return
        names = (self._store.text(place, tag) for tag in (known.ATTACHMENT_NAME, known.ATTACHMENT_SHORT_NAME))
        name = on_one_line(next(filter(None, names), "attachment"))
        yield f"[attachment] {name}"
        yield from _attached_lines(name, self._store.binary(place, known.ATTACHMENT_DATA), self._notes)


def outlook() -> "ModuleType":
    """Return the module with the properties of Outlook, which only workers import."""
    return import_module("research_shared.formats._mail.outlook")


def _bracketed(name: str, addresses: list[str]) -> str:
    """Return the first address that people write, in brackets, unless it is the name."""
    address = next((each for each in addresses if "@" in each), "")
    return f"<{on_one_line(address)}>" if address and address != name else ""


FORMATS = (
    Format(
        title="a mail message",
        media_types={".eml": "message/rfc822"},
        readers=(Reader(name="mail", open=open_mail, revision=2),),
        markdown=True,
        recognises=lambda _data: False,
    ),
    Format(
        title="an Outlook message",
        media_types={".msg": "application/vnd.ms-outlook"},
        readers=(Reader(name="outlook", open=open_outlook, packages=("olefile",), distribution="olefile"),),
        markdown=True,
        recognises=lambda data: data.startswith(_COMPOUND_FILE_MARK),
    ),
)
