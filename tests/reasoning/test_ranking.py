"""The passages of a document that answer a question best."""

from pathlib import Path

from research_reasoning.evidence.ranking import rank
from research_shared.documents import DocumentText, Identity


def document(*sections: str) -> DocumentText:
    text = "\n\n".join(f"# Section {number}\n\n{section}" for number, section in enumerate(sections))
    return DocumentText("d.md", "text/markdown", Identity(0, 0, 0, 0, 0), "0", "text", text.encode())


def headings(text: DocumentText, question: str, limit: int = 10) -> list[str]:
    return [passage.heading for passage in rank(text, question, limit)]


def test_the_rare_words_of_the_question_decide() -> None:
    text = document(
        "The network carries traffic.",
        "The network relays onions in layered encryption.",
        "The network is a network of networks.",
        "Nothing of the kind.",
    )
    assert headings(text, "How does the network use onions?")[0] == "Section 1"
    assert "Section 3" not in headings(text, "How does the network use onions?")


def test_word_forms_meet_and_headings_count() -> None:
    text = document("Relays encrypt cells.", "Birds sing here.")
    assert headings(text, "encrypting a relayed cell") == ["Section 0"]
    assert headings(text, "which section") == ["Section 0", "Section 1"]


def test_equal_passages_keep_the_document_s_order_and_the_limit_cuts_the_tail() -> None:
    text = document(*["Same words in every one of them."] * 5)
    assert headings(text, "words") == [f"Section {number}" for number in range(5)]
    assert headings(text, "words", 2) == ["Section 0", "Section 1"]


def test_a_long_passage_does_not_win_by_its_length() -> None:
    text = document("Onion. " + "Filler words about nothing in particular. " * 20, "An onion relay.")
    assert headings(text, "onion") == ["Section 1", "Section 0"]


def test_without_a_shared_word_there_is_nothing(tmp_path: Path) -> None:
    text = document("Relays encrypt cells.")
    assert headings(text, "penguins") == []
    assert headings(text, "?!") == []
    assert headings(text, "relays", 0) == []
    assert headings(document(), "relays") == []
    assert headings(text, "the of and") == []
