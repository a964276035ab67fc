"""Tells what in a model's text is no answer: its thinking, where a server leaves it in the text, and a refusal in words."""

import re
from typing import Final

_TAG_NAMES: Final = r"(?:think|thinking|thought|thoughts|reasoning|reflection|scratchpad|seed:think)"
_OPEN: Final = rf"(?:<{_TAG_NAMES}(?:\s[^<>\n]{{0,80}})?>|\[THINK\]|◁think▷|<\|START_THINKING\|>)"
_CLOSE: Final = rf"(?:</{_TAG_NAMES}\s*>|\[/THINK\]|◁/think▷|<\|END_THINKING\|>)"
_OPENS: Final = re.compile(rf"[\s`]*{_OPEN}", re.IGNORECASE)
_OPENS_A_LINE: Final = re.compile(rf"^[ \t]*{_OPEN}", re.IGNORECASE | re.MULTILINE)
_ANY_OPENS: Final = re.compile(_OPEN, re.IGNORECASE)
_CLOSES: Final = re.compile(_CLOSE, re.IGNORECASE)
_CLOSES_ALONE: Final = re.compile(rf"{_CLOSE}(?=[ \t]*(?:\n|\Z|\{{|\[|```))", re.IGNORECASE)
_CHANNEL: Final = re.compile(
    r"(?:<\|start\|>[^<]{0,40})?<\|channel\|>\s*(?P<name>\w+)[^<]{0,80}(?:<\|constrain\|>[^<]{0,40})?<\|message\|>"
)
_CHANNEL_ENDS: Final = re.compile(r"<\|(?:end|return|call|start|channel)\|>")


def without_thinking(text: str) -> tuple[str, bool]:
    """Return an answer without the thinking before it, and whether the thinking was never closed.

    Known are the tags of open models (`<think>`, `[THINK]` and others) and the channels of gpt-oss, of which `final`
    holds the answer. The template of a model may have opened the thinking already, so that only its end is in the
    answer. A tag within the answer, as in a text about models, is left alone.
    """
    if "<|message|>" in text and (channels := list(_CHANNEL.finditer(text))):
        return _final_channel(text, channels)
    alone = _CLOSES_ALONE.search(text)
    if alone is not None and _ANY_OPENS.search(text, 0, alone.start()) is None:
        text = text[alone.end() :].lstrip()
    while (opened := _OPENS.match(text)) is not None:
        closed = _CLOSES.search(text, opened.end())
        if closed is None:
            return "", True
        text = text[closed.end() :].lstrip()
    return _without_later_blocks(text), False


def _final_channel(text: str, channels: list[re.Match[str]]) -> tuple[str, bool]:
    """Return the last message of the channel `final`."""
    for channel in reversed(channels):
        if channel["name"].lower() == "final":
            end = _CHANNEL_ENDS.search(text, channel.end())
            return text[channel.end() : end.start() if end else len(text)].strip(), False
    return "", True


def _without_later_blocks(text: str) -> str:
    """Remove thinking on lines of its own after the first words of an answer."""
    kept: list[str] = []
    at = 0
    while (opened := _OPENS_A_LINE.search(text, at)) is not None:
        closed = _CLOSES_ALONE.search(text, opened.end())
        if closed is None:
            break
        kept.append(text[at : opened.start()])
        at = closed.end()
    return "".join([*kept, text[at:]]) if kept else text


_MAX_REFUSAL: Final = 600
"""Characters of a refusal. What is longer says more than that."""
_SORRY: Final = (
    r"(?:(?:i\ ?['\u2019]?\ ?a?m)\ (?:very\ |so\ |really\ )?sorry|sorry|(?:i|my)\ (?:sincere(?:ly)?\ )?apologi[sz]e?s?|unfortunately"
    r"|as\ an\ (?:ai|artificial)[\w\ ]{0,40}|es\ tut\ mir\ (?:sehr\ )?leid|leider|je\ (?:suis|regrette)(?:\ vraiment)?(?:\ d\u00e9sol\u00e9e?)?"
    r"|d\u00e9sol\u00e9e?|lo\ siento|mi\ dispiace|sinto\ muito|desculpe)"
)
_CANNOT: Final = (
    r"(?:i\ (?:can(?:no|\ no|['\u2019])t|am\ (?:not\ able|unable)|will\ not|won['\u2019]?t|must\ decline|decline)"
    r"|i['\u2019]m\ (?:not\ able|unable)|ich\ kann[\w\ ,]{0,60}nicht|kann\ ich[\w\ ,]{0,60}nicht|je\ ne\ peux\ pas|no\ puedo|non\ posso|n\u00e3o\ posso)"
)
_TO_DO: Final = (
    r"(?:\ to)?(?:\ \w+)?\ (?:help|assist|comply|fulfil?l?|provide|answer|process|continue|do\ (?:that|this|so)|discuss|engage"
    r"|generate|create|produce|summari[sz]e|analy[sz]e|share|support|with|that|this)\b"
)
_REFUSAL: Final = re.compile(
    rf"\W{{0,5}}(?:{_SORRY}\W{{1,5}}(?:(?:but|aber|mais|pero|ma|mas)\ )?{_CANNOT}|{_CANNOT}{_TO_DO})"
    r"|\W{0,5}(?:抱歉|对不起|很抱歉|申し訳(?:ありません|ございません)|죄송)",
    re.IGNORECASE,
)


def refuses(text: str) -> bool:
    """Whether an answer is a refusal in words: short, without JSON, and it begins by saying that the model cannot help."""
    text = text.strip()
    return (
        len(text) <= _MAX_REFUSAL and "{" not in text and _REFUSAL.match(" ".join(text.split())) is not None
    )
