"""Settings of a cluster that cannot work end the start with one line, and what is secret in them is never shown."""

from pathlib import Path

import pytest

from research_shared.errors import ConfigurationError
from research_shared.settings import Settings

PASSWORD = "a-password-of-the-cluster"
CLUSTER = {"RESEARCH_SEARCH_URL": "https://search.example:9200"}
USER = {"RESEARCH_SEARCH_USER": "u", "RESEARCH_SEARCH_PASSWORD": PASSWORD}


@pytest.mark.parametrize("given", [{}, CLUSTER, CLUSTER | USER, CLUSTER | {"RESEARCH_SEARCH_KEY": PASSWORD}])
def test_a_cluster_takes_a_user_or_a_token_or_neither(given: dict[str, str]) -> None:
    settings = Settings.load(given)
    assert settings.search_url == given.get("RESEARCH_SEARCH_URL")
    assert settings.search_index == "research"
    assert PASSWORD not in repr(settings)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            CLUSTER | {"RESEARCH_INDEX_DIR": "/srv/index"},
            "only one of RESEARCH_SEARCH_URL and RESEARCH_INDEX_DIR",
        ),
        (USER, "RESEARCH_SEARCH_USER needs RESEARCH_SEARCH_URL"),
        (CLUSTER | {"RESEARCH_SEARCH_USER": "u"}, "belong together"),
        (CLUSTER | {"RESEARCH_SEARCH_PASSWORD": PASSWORD}, "belong together"),
        (CLUSTER | USER | {"RESEARCH_SEARCH_KEY": PASSWORD}, "only one of RESEARCH_SEARCH_USER"),
        ({"RESEARCH_SEARCH_URL": f"https://u:{PASSWORD}@search.example"}, "without user, query or fragment"),
        ({"RESEARCH_SEARCH_URL": "https://search.example/?pretty"}, "without user, query or fragment"),
        ({"RESEARCH_SEARCH_URL": "https://:9200"}, "without user, query or fragment"),
        ({"RESEARCH_SEARCH_URL": "https://search.example:many"}, "without user, query or fragment"),
        ({"RESEARCH_SEARCH_URL": "search.example:9200"}, "RESEARCH_SEARCH_URL="),
        (CLUSTER | {"RESEARCH_SEARCH_INDEX": "Research"}, "RESEARCH_SEARCH_INDEX="),
        (CLUSTER | {"RESEARCH_SEARCH_INDEX": "_all"}, "RESEARCH_SEARCH_INDEX="),
        (CLUSTER | {"RESEARCH_SEARCH_FOLDER_ID": "a b"}, "RESEARCH_SEARCH_FOLDER_ID="),
        ({"RESEARCH_SEARCH_FOLDER_ID": "a"}, "RESEARCH_SEARCH_FOLDER_ID needs RESEARCH_SEARCH_URL"),
    ],
)
def test_what_contradicts_itself_is_named_without_the_secret(given: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Settings.load(given)
    assert message in refused.value.message
    assert PASSWORD not in refused.value.message


def test_a_slash_at_the_end_of_the_address_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(PASSWORD, encoding="utf-8")
    settings = Settings.load(
        {
            "RESEARCH_SEARCH_URL": "https://search.example/os/",
            "RESEARCH_SEARCH_KEY_FILE": str(tmp_path / "key"),
        }
    )
    assert settings.search_url == "https://search.example/os"
    assert settings.search_key is not None
    assert settings.search_key.get_secret_value() == PASSWORD
