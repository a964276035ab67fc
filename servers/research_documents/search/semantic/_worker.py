"""The program of an embedding process: receives texts, sends back their vectors.

It is started as a script, by its path, with an empty environment. It imports only the standard library, `numpy`,
`onnxruntime` and `tokenizers`, reads the model's files and nothing else, and ends when its standard input does.

A request is a length (four bytes, network order) and a JSON list of texts. The answer is a kind (one byte), the number of
vectors and of their components (four bytes each), and the components as little-endian floats of 32 bits; a `NOT_EMBEDDED` has
the length of a message in place of the second number, and the message. The first frame, `LOADED`, says that the model is
loaded.

Each text is one inference. A batch would be padded to its longest text, which takes longer on processors, and makes the
last digits of a vector depend on the other texts of the batch.
"""

import json
import os
import struct
import sys
from pathlib import Path
from typing import IO, Any, NamedTuple

PACKAGES = ("numpy", "onnxruntime", "tokenizers")
"""What this program imports. The extra `semantic` installs them."""
LOADED, VECTORS, NOT_EMBEDDED = range(3)
ANSWER_HEAD = struct.Struct("!BII")
TEXTS_HEAD = struct.Struct("!I")
KNOWN_INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids"})


class ModelOptions(NamedTuple):
    """Files of the model, and how it is run.

    `pooling` makes one vector of those of the tokens: `mean`, or `cls` for that of the first token. `max_tokens` of a
    text are read. `niceness` is added to that of the parent.
    """

    model: str
    tokenizer: str
    pooling: str
    max_tokens: int
    threads: int
    niceness: int


class OnnxModel:
    """A loaded model with its tokenizer."""

    def __init__(self, options: ModelOptions) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        session_options = onnxruntime.SessionOptions()
        session_options.intra_op_num_threads = options.threads
        session_options.inter_op_num_threads = 1
        session_options.log_severity_level = 3
        # Threads that wait in a loop would take time from searches.
        session_options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session: Any = onnxruntime.InferenceSession(
            options.model, session_options, providers=["CPUExecutionProvider"]
        )
        self._inputs = {each.name for each in self._session.get_inputs()}
        if "input_ids" not in self._inputs or not self._inputs <= KNOWN_INPUTS:
            raise ValueError(f"a model with the inputs {', '.join(sorted(self._inputs))}")
        outputs = {each.name: len(each.shape) for each in self._session.get_outputs()}
        sentence = [name for name, rank in outputs.items() if rank == 2]  # noqa: PLR2004  (one vector a text)
        self._pooled = bool(sentence)
        self._output = sentence[0] if sentence else next(iter(outputs))
        self._cls = options.pooling == "cls"
        self._tokenizer: Any = Tokenizer.from_file(options.tokenizer)
        self._tokenizer.enable_truncation(options.max_tokens)
        self._tokenizer.no_padding()

    def vector(self, text: str) -> Any:
        """Return the vector of a text as an array."""
        import numpy as np

        ids = np.array([self._tokenizer.encode(text).ids], dtype=np.int64)
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        (found,) = self._session.run(
            [self._output], {name: given[name] for name in given.keys() & self._inputs}
        )
        if self._pooled:
            return found[0]
        return found[0, 0] if self._cls else found[0].mean(axis=0)


def embed_requests(model: OnnxModel, source: IO[bytes], sink: IO[bytes]) -> None:
    """Answer requests until the source ends."""
    import numpy as np

    while len(head := source.read(TEXTS_HEAD.size)) == TEXTS_HEAD.size:
        body = source.read(TEXTS_HEAD.unpack(head)[0])
        texts = json.loads(body)
        try:
            vectors = np.stack([model.vector(text) for text in texts]).astype("<f4")
        except Exception as error:  # noqa: BLE001  (told to the parent, which decides)
            message = type(error).__name__.encode()
            sink.write(ANSWER_HEAD.pack(NOT_EMBEDDED, 0, len(message)) + message)
        else:
            sink.write(ANSWER_HEAD.pack(VECTORS, *vectors.shape) + vectors.tobytes())
        sink.flush()


def main() -> None:
    """Load the model that the first argument describes; the others are directories of packages."""
    sys.path += [path for path in sys.argv[2:] if path not in sys.path]
    options = ModelOptions(**json.loads(sys.argv[1]))
    os.nice(options.niceness)
    # What libraries print must not get between the frames.
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        model = OnnxModel(options)
    except Exception as error:  # noqa: BLE001  (told to the parent)
        # The message of the libraries names files: the parent logs it, and tells clients the kind of failure only.
        message = f"{type(error).__name__}: {error}".replace(str(Path(options.model).parent), "…").encode()
        sink.write(ANSWER_HEAD.pack(NOT_EMBEDDED, 0, len(message)) + message)
        sink.flush()
        return
    sink.write(ANSWER_HEAD.pack(LOADED, 0, 0))
    sink.flush()
    embed_requests(model, sys.stdin.buffer, sink)


if __name__ == "__main__":
    main()
