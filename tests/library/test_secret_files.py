"""Secrets in files, as container platforms mount them."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from research_shared.base_errors import ConfigurationError
from research_shared.settings import FILE_SUFFIX, PREFIX, Settings, secret_settings

KEY = "a-secret-of-more-than-thirty-two-bytes"


def test_every_secret_can_be_in_a_file(tmp_path: Path) -> None:
    names = secret_settings(Settings.model_fields)
    assert {"provider_key", "auth_tokens", "state_keys", "audit_key", "embedding_key", "login_key"} <= set(
        names
    )
    file = tmp_path / "secret"
    for name in names:
        content = f"redis://:{KEY}@localhost:6379/0" if name == "tasks_url" else KEY
        headers = name.endswith("_headers")
        file.write_text(f'{{"key": "{content}"}}\n' if headers else f"{content}\n", encoding="utf-8")
        environ = {f"{PREFIX}{name.upper()}{FILE_SUFFIX}": str(file)}
        if name == "login_client_secret":
            environ |= {
                "RESEARCH_LOGIN": "google",
                "RESEARCH_LOGIN_CLIENT_ID": "c",
                "RESEARCH_PUBLIC_URL": "https://r.example",
            }
        elif name == "login_key":
            environ |= {
                "RESEARCH_LOGIN": "oidc",
                "RESEARCH_LOGIN_CLIENT_ID": "c",
                "RESEARCH_AUTH_ISSUER": "https://i.example",
                "RESEARCH_PUBLIC_URL": "https://r.example",
            }
        value = getattr(Settings.load(environ | NEEDED.get(name, {})), name)
        secret = SecretStr(content)
        assert value in (secret, (secret,), {"key": secret}), name


NEEDED = {
    "provider_key": {"RESEARCH_PROVIDER": "openai", "RESEARCH_PROVIDER_MODEL": "m"},
    "embedding_key": {"RESEARCH_EMBEDDING_URL": "http://e", "RESEARCH_EMBEDDING_MODEL": "m"},
    "search_password": {"RESEARCH_SEARCH_URL": "https://s", "RESEARCH_SEARCH_USER": "u"},
    "search_key": {"RESEARCH_SEARCH_URL": "https://s"},
}
"""What a secret has no effect without."""


def test_a_file_wins_over_the_toml_file_and_the_provider_s_own_variable(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY, encoding="utf-8")
    (tmp_path / "research.toml").write_text('provider_key = "from toml"\n', encoding="utf-8")
    environ = NEEDED["provider_key"] | {
        "RESEARCH_CONFIG": str(tmp_path / "research.toml"),
        "RESEARCH_PROVIDER_KEY_FILE": str(tmp_path / "key"),
        "OPENAI_API_KEY": "of the tools",
    }
    assert Settings.load(environ).provider_key == SecretStr(KEY)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "No such file"), (b"\n", "it is empty"), (b"\xff\xfe\x00", "it is no text")],
)
def test_a_file_without_a_secret_is_named(content: bytes | None, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=f"RESEARCH_AUDIT_KEY_FILE={file}: {reason}"):
        Settings.load({"RESEARCH_AUDIT_KEY_FILE": str(file)})


def test_a_secret_is_given_once_and_only_secrets_are_in_files(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY, encoding="utf-8")
    given = {"RESEARCH_AUDIT_KEY": KEY, "RESEARCH_AUDIT_KEY_FILE": str(tmp_path / "key")}
    with pytest.raises(
        ConfigurationError, match="only one of RESEARCH_AUDIT_KEY and RESEARCH_AUDIT_KEY_FILE"
    ):
        Settings.load(given)
    with pytest.raises(ConfigurationError, match="no setting RESEARCH_PROVIDER_MODEL_FILE"):
        Settings.load({"RESEARCH_PROVIDER_MODEL_FILE": "x"})
