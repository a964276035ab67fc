"""What `tests/operations/run.py` compares and runs. The pages themselves are run by CI, with real services."""

import re

import pytest
import yaml

from operations.run import Wrong, compare, script_of
from support.pages import ROOT, Block, typed, typed_commands

PAGE = """\
$ for port in 1 2; do
>   curl http://127.0.0.1:$port/readyz 2>>/var/log/curl.log
> done
{"status":…
$ RESEARCH_METRICS=true research-assistant serve --port 8000 2>>log & echo $! >pid
"""


def test_a_command_is_what_follows_a_prompt_with_its_further_lines() -> None:
    first, second = typed(PAGE)
    assert first[0].splitlines()[1] == "  curl http://127.0.0.1:$port/readyz 2>>/var/log/curl.log"
    assert first[1] == ['{"status":…']
    assert second[1] == []


def test_the_words_of_commands_in_loops_and_behind_others_are_looked_at() -> None:
    words = [command.words for command in typed_commands(PAGE)]
    assert ["curl", "http://127.0.0.1:$port/readyz"] in words
    assert ["research-assistant", "serve", "--port", "8000"] in words


def test_lines_that_a_page_shows_have_to_come_in_their_order() -> None:
    compare(["a", "…", "b … d"], "a\nx\nb c d\n")
    compare(["…"], "")
    for shown in (["b", "a"], ["a", "a"], ["b … e"], ["b"]):
        with pytest.raises(Wrong):
            compare(shown, "a\nx\nb c d\n")


def test_a_command_that_fails_ends_the_page_and_what_comes_before_runs_once() -> None:
    block = Block(page="x.md", line=1, language="console", text="$ one\n$ two\n$ one again\n", check=None)
    script, commands = script_of([block], {"one": "prepare"})
    assert [command for command, _ in commands] == ["one", "two", "one again"]
    assert script.count("prepare ||") == 1
    assert script.count("exit 1") == 4


@pytest.mark.parametrize("name", ["nginx.conf", "one.conf"])
def test_nginx_is_for_this_machine_without_tls_and_keeps_figures_and_health_inside(name: str) -> None:
    config = (ROOT / "deploy" / "nginx" / name).read_text(encoding="utf-8")
    listening = re.findall(r"^ *listen ([^;]+);", config, re.MULTILINE)
    assert listening
    assert all("ssl" in words.split() or words.startswith("127.0.0.1:") for words in listening), listening
    assert {"/metrics", "/readyz"} == set(re.findall(r"location = (\S+) { return 404; }", config))


def test_envoy_is_for_this_machine_and_keeps_figures_and_health_inside() -> None:
    config = yaml.safe_load((ROOT / "deploy" / "envoy" / "envoy.yaml").read_text(encoding="utf-8"))
    (listener,) = config["static_resources"]["listeners"]
    assert listener["address"]["socket_address"]["address"] == "127.0.0.1"
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    assert manager["normalize_path"] is manager["merge_slashes"] is True
    *inside, rest = manager["route_config"]["virtual_hosts"][0]["routes"]
    assert rest["match"] == {"prefix": "/"}
    assert {route["match"]["path"]: route["direct_response"]["status"] for route in inside} == {
        "/metrics": 404,
        "/readyz": 404,
    }
