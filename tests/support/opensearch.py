"""A real OpenSearch node for tests, from its Maven artifacts. It starts where `RESEARCH_TEST_OPENSEARCH=1` asks for it.

    RESEARCH_TEST_OPENSEARCH=1 pytest -n0 -k opensearch tests/opensearch tests/search tests/documents

`cluster_url()` starts one node for all tests of a process, in about 10 s, and is where the node is. `new_prefix()` is a name
for the indices of one test. Without Java (17 or newer, with its compiler) or Maven, tests that ask for the node are skipped and
say why. Maven takes what it needs from its repository or its cache, once: 58 archives, 66 MB, in
`tests/opensearch/node/target/lib`.

`cluster_url(knn=True)` is another node, with the k-NN plugin. Its version is older than that of the node by five patches, and
it comes without native libraries: its engine `lucene` is all Java. Neither matters to the tests.

`SEARCH_BACKENDS` is what tests of the search contract are parametrized by.
"""

import atexit
import hashlib
import os
import secrets
import shutil
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import pytest

NODE_ASKED_FOR: Final = os.environ.get("RESEARCH_TEST_OPENSEARCH") == "1"
SEARCH_BACKENDS: Final = ("embedded", "opensearch") if NODE_ASKED_FOR else ("embedded",)
NODE_SOURCES: Final = Path(__file__).parents[1] / "opensearch" / "node"
MAVEN_ATTEMPTS: Final = 4
MAVEN_PAUSE_S: Final = 15.0
KNN_PLUGIN: Final = "org.opensearch.knn.plugin.KNNPlugin"


def new_prefix() -> str:
    """A name that no other test has for its indices."""
    return f"test-{secrets.token_hex(4)}"


@cache
def cluster_url(*, knn: bool = False) -> str:
    """The address of a node that runs until this process ends, perhaps with the k-NN plugin. Skip the test where there can be none."""
    if not NODE_ASKED_FOR:
        pytest.skip("RESEARCH_TEST_OPENSEARCH=1 starts an OpenSearch node")
    for program in ("java", "javac", "mvn"):
        if shutil.which(program) is None:
            pytest.skip(f"an OpenSearch node needs {program}")
    archives = NODE_SOURCES / "target" / "lib"
    if not _complete(archives).exists():
        download(archives)
    if not knn:
        return start_node(archives)
    unpacked = archives.parent / "knn"
    (archive,) = archives.glob("opensearch-knn-*.zip")
    with zipfile.ZipFile(archive) as whole:
        whole.extractall(unpacked, [name for name in whole.namelist() if name.endswith(".jar")])
    return start_node(archives, unpacked, plugins=[KNN_PLUGIN])


def _complete(archives: Path) -> Path:
    """The file that says that all archives are there which the project file names now."""
    wanted = hashlib.sha256((NODE_SOURCES / "pom.xml").read_bytes()).hexdigest()[:12]
    return archives.parent / f"complete-{wanted}"


def download(archives: Path, *, sleep: Callable[[float], None] = time.sleep) -> None:
    """Have Maven copy the archives of the node. A repository that does not answer is asked again."""
    command = ["mvn", "-q", "-B", "-f", str(NODE_SOURCES / "pom.xml"), "dependency:copy-dependencies"]
    for attempt in range(1, MAVEN_ATTEMPTS + 1):
        done = subprocess.run(
            [*command, f"-DoutputDirectory={archives}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        if done.returncode == 0:
            _complete(archives).touch()
            return
        if attempt < MAVEN_ATTEMPTS:
            sleep(MAVEN_PAUSE_S * attempt)
    raise AssertionError(f"Maven could not copy the archives:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def start_node(*archives: Path, plugins: Sequence[str] = ()) -> str:
    """Start a node that ends with this process, and return its address when it listens."""
    home = Path(tempfile.mkdtemp(prefix="opensearch-"))
    with (home / "errors.txt").open("wb") as errors:
        node = subprocess.Popen(
            # C1 alone and the serial collector: they leave a small machine to the tests.
            [
                "java",
                "-Xms512m",
                "-Xmx512m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-cp",
                ":".join(f"{directory}/*" for directory in archives),
                str(NODE_SOURCES / "SingleNode.java"),
                str(home),
                *plugins,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert node.stdin is not None
    assert node.stdout is not None

    def end() -> None:
        node.stdin.close()  # type: ignore[union-attr]
        try:
            node.wait(60)
        except subprocess.TimeoutExpired:
            node.kill()
            node.wait()
        shutil.rmtree(home, ignore_errors=True)

    atexit.register(end)
    for line in node.stdout:
        if line.startswith("port "):
            return f"http://127.0.0.1:{int(line.split()[1])}"
    raise AssertionError(f"the node ended:\n{(home / 'errors.txt').read_text(errors='replace')[-4000:]}")
