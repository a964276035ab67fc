"""What makes vectors of texts: the protocol that a local model and an endpoint have in common."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from research_shared.logs import get_logger

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

log = get_logger("research.search")

Vectors: TypeAlias = "NDArray[np.float32]"
"""One vector a row, not normalized."""
HARMLESS: Final = "test"
"""What any model can embed."""


class EmbeddingFailed(Exception):
    """Vectors could not be made. The message is a clause for people and models, without paths, keys or document text.

    `retry_after_s` is the time that the server asks to wait, if it does. `about_texts` says that these texts are the
    cause: others may go through.
    """

    def __init__(
        self, message: str, *, retry_after_s: float | None = None, about_texts: bool = False
    ) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.about_texts = about_texts


class Embedder(Protocol):
    """Makes vectors of texts whose meaning is close if the vectors point the same way."""

    @property
    def batch(self) -> int:
        """Number of passages that are best embedded in one call."""

    async def identity(self) -> str:
        """Return what names the model and all that changes its vectors: vectors of another identity are not compared.

        Raises:
            EmbeddingFailed: the model cannot be read.
        """

    async def embed(self, texts: Sequence[str], *, query: bool) -> Vectors:
        """Return one vector for each text. A `query` does not wait for passages that are being embedded.

        Raises:
            EmbeddingFailed: nothing came back that can be used.
        """

    async def close(self) -> None:
        """Release processes and connections. The next call opens them again."""


async def embed_passages(
    embedder: Embedder,
    texts: Sequence[str],
    *,
    take: Callable[[Sequence[str], Vectors], None],
    give_up: Callable[[str], None],
) -> None:
    """Embed texts, and `take` their vectors. If texts are the cause of a failure, find out which, and give those up.

    `take` may raise `EmbeddingFailed` for vectors that cannot be used.

    Raises:
        EmbeddingFailed: the cause is another one.
    """
    try:
        take(texts, await embedder.embed(texts, query=False))
    except EmbeddingFailed as failure:
        if not failure.about_texts:
            raise
        if len(texts) == 1:
            # The cause is the passage only if the model answers otherwise.
            await embedder.embed([HARMLESS], query=False)
            log.warning("a passage cannot be embedded and is found by its words only", error=str(failure))
            give_up(texts[0])
            return
        half = len(texts) // 2
        await embed_passages(embedder, texts[:half], take=take, give_up=give_up)
        await embed_passages(embedder, texts[half:], take=take, give_up=give_up)
