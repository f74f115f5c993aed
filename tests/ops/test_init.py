"""`tidegate init`: what is asked, what is written, and that `tidegate` reads it."""

from __future__ import annotations

from email.utils import parseaddr
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from tidegate.ops import initial
from tidegate.ops.init_cli import init_command
from tidegate.ops.initial import Answers, BadAnswer
from tidegate.platform.problems import StartupError
from tidegate.platform.settings import load_settings

APP = typer.Typer()
APP.command()(init_command)
KEY = "sk_live_abc123"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    monkeypatch.setenv("TIDEGATE_HOME", str(folder))
    return folder


def init(*words: str, said: str = "", code: int = 0) -> Result:
    result = CliRunner().invoke(APP, list(words), input=said)
    assert result.exit_code == code, result.output + str(result.exception)
    return result


def refused(*words: str) -> str:
    result = CliRunner().invoke(APP, list(words))
    assert isinstance(result.exception, StartupError), result.output
    return str(result.exception)


def test_every_question_is_an_option(home: Path) -> None:
    result = init(
        "--yes", "--name", 'The "Quay" & Söhne', "--currency", "eur", "--url", "shop.example", "--locale", "de-DE",
        "--smtp-url", "smtps://me:p%40ss@mail.example:465", "--sender", "Quay <hello@shop.example>",
        "--stripe-key", KEY, "--stripe-webhook-secret", "whsec_abc, whsec_def", "--proxy", "10.0.0.0/8",
    )  # fmt: skip
    assert "Not for production" not in result.output
    assert KEY not in result.output
    file = home / "settings.toml"
    assert file.stat().st_mode & 0o777 == 0o600
    settings = load_settings()
    assert (settings.shop_name, settings.currency, settings.locale) == ('The "Quay" & Söhne', "EUR", "de_DE")
    assert settings.base_url == "https://shop.example"
    assert settings.http.allowed_hosts[0] == "shop.example"
    assert settings.http.trusted_proxies == ["10.0.0.0/8"]
    assert settings.mail.smtp_url == "smtps://me:p%40ss@mail.example:465"
    assert settings.payments.stripe_secret_key.get_secret_value() == KEY
    assert settings.payments.stripe_webhook_secrets.get_secret_value() == "whsec_abc,whsec_def"
    assert settings.security.cookie_secure
    assert not settings.demo
    assert [path.name for path in home.iterdir()] == ["settings.toml"]


def test_questions_are_asked_again_until_the_answer_can_be_used(home: Path) -> None:
    answers = [
        "Quay",
        "pounds",
        "GBP",
        "https://shop.example/path",
        "shop.example",
        "",
        "mail",
        "",
        "",
        "pk_live_1",
        "",
    ]
    result = init(said="\n".join([*answers, "", ""]) + "\n")
    assert "three letters" in result.output
    assert "no path" in result.output
    assert "smtp://USER" in result.output
    assert "pk_ is the other one" in result.output
    assert load_settings().shop_name == "Quay"


def test_a_file_that_is_there_is_kept(home: Path) -> None:
    init("--yes", "--name", "First")
    assert "there already" in refused("--yes", "--name", "Second")
    assert load_settings().shop_name == "First"
    init("--yes", "--name", "Second", "--force")
    assert load_settings().shop_name == "Second"


def test_what_is_unsafe_is_said(home: Path) -> None:
    said = init("--yes", "--url", "http://shop.example").output
    assert "not https" in said
    assert "no mail server" in said
    assert "no payment keys" in said
    assert not load_settings().security.cookie_secure


def test_the_environment_goes_before_the_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    init("--yes", "--name", "File", "--url", "https://file.example")
    monkeypatch.setenv("TIDEGATE_SHOP_NAME", "Environment")
    monkeypatch.setenv("TIDEGATE_HTTP__MAX_FORM_FIELDS", "7")
    settings = load_settings()
    assert (settings.shop_name, settings.base_url) == ("Environment", "https://file.example")
    assert settings.http.max_form_fields == 7


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[http]\nbase_uri = 'x'\n", "no setting http.base_uri"),
        ("home = '/x'\n", "no setting home"),
        ("http = 'x'\n", "http outside of its table"),
        ("[http\n", "is not TOML"),
        ("currency = 'pounds'\n", "TIDEGATE_CURRENCY"),
    ],
)
def test_a_file_that_cannot_be_used_stops_the_start(home: Path, text: str, reason: str) -> None:
    home.mkdir()
    (home / "settings.toml").write_text(text)
    with pytest.raises(StartupError) as caught:
        load_settings()
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--currency", "XXY"), "--currency"),
        (("--url", "ftp://shop.example"), "--url"),
        (("--url", "https://shop.example:port"), "--url"),
        (("--url", "https://me@shop.example"), "--url"),
        (("--name", "x" * 101), "--name"),
        (("--sender", "nobody"), "--sender"),
        (("--stripe-key", "sk_live_ä"), "--stripe-key"),
        (("--stripe-webhook-secret", "secret"), "--stripe-webhook-secret"),
        (("--locale", "xx_YY"), "--locale"),
        (("--proxy", "everybody"), "--proxy"),
        (("--smtp-url", "smtp://host:port"), "--smtp-url"),
    ],
)
def test_options_that_cannot_be_used(home: Path, words: tuple[str, str], reason: str) -> None:
    assert refused("--yes", *words).startswith(reason)
    assert not home.exists()


@given(st.text(max_size=120))
def test_any_name_that_is_taken_comes_back(text: str) -> None:
    import tomllib

    try:
        name = initial.check_name(text)
    except BadAnswer:
        return
    written = initial.as_toml(initial.settings_document(Answers(name, "GBP", "https://shop.example")))
    read = tomllib.loads(written)
    assert read["shop_name"] == name
    assert parseaddr(read["mail"]["sender"]) == (name, "shop@shop.example")
