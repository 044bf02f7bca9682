"""What an operator may set, and what is said about a mistake."""

from pathlib import Path

import msgspec
import pytest

from umd import settings
from umd.errors import SettingsError


def test_every_setting_has_a_default_that_works() -> None:
    loaded = settings.load({})

    assert loaded.settings == settings.Settings()
    assert set(loaded.origins.values()) == {"default"}
    assert (loaded.settings.host, loaded.settings.port) == ("127.0.0.1", 8080)


def test_values_come_from_the_environment_with_their_types() -> None:
    loaded = settings.load({"UMD_PORT": "9000", "UMD_LOG_LEVEL": "debug", "HOME": "/x"})

    assert (loaded.settings.port, loaded.settings.log_level) == (9_000, "debug")
    assert loaded.origins["port"] == "UMD_PORT"


def test_an_empty_variable_is_as_if_absent() -> None:
    assert settings.load({"UMD_PORT": ""}).settings.port == 8080


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("UMD_PORT", "http"),
        ("UMD_PORT", "70000"),
        ("UMD_PORT", "-1"),
        ("UMD_LOG_LEVEL", "loud"),
        ("UMD_MAX_CONCURRENT_DOWNLOADS", "0"),
        ("UMD_QUEUE_MAX", "1.5"),
        ("UMD_PUBLIC_BASE_URL", "ftp://x"),
        ("UMD_PUBLIC_BASE_URL", "https://x/"),
        ("UMD_RETENTION_SEC", "NaN"),
        ("UMD_ALLOW_ADDRESSES", "10.0.0.0/99"),
        ("UMD_ALLOW_ADDRESSES", "10.0.0.1/8"),
        ("UMD_ALLOW_ADDRESSES", "127.0.0.0/8, nas"),
        ("UMD_ALLOWED_PORTS", "0"),
        ("UMD_ALLOWED_PORTS", "80, 90-80"),
        ("UMD_ALLOWED_PORTS", "http"),
        ("UMD_PROXY", "https://proxy:3128"),
        ("UMD_PROXY", "socks5://proxy"),
        ("UMD_PROXY", "http://proxy:99999"),
        ("UMD_BLOCKED_DOMAINS", "https://example.com/"),
        ("UMD_ALLOWED_DOMAINS", "a.com, b.*.com"),
        ("PORT", "no"),
    ],
)
def test_a_bad_value_is_one_clear_line(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as error:
        settings.load({name: value})

    assert str(error.value).startswith(f"{name}: ")
    assert value in str(error.value)
    assert "\n" not in str(error.value)


def test_a_name_that_does_not_exist_is_refused() -> None:
    with pytest.raises(SettingsError, match="UMD_PROT is not a setting"):
        settings.load({"UMD_PROT": "80"})


def test_the_platform_s_names_are_honoured() -> None:
    loaded = settings.load({"PORT": "1", "UMD_PORT": "2", "RAILWAY_VOLUME_MOUNT_PATH": "/vol"})
    own = settings.load({"UMD_DATA_DIR": "/mine", "RAILWAY_VOLUME_MOUNT_PATH": "/vol"})

    assert (loaded.settings.port, loaded.origins["port"]) == (1, "PORT")
    assert loaded.settings.root == Path("/vol")
    assert own.settings.root == Path("/mine")


def test_every_setting_says_what_it_means() -> None:
    described = [field.type for field in msgspec.inspect.type_info(settings.Settings).fields]  # type: ignore[attr-defined]  # a struct's

    assert all(isinstance(kind, msgspec.inspect.Metadata) for kind in described)


def test_an_empty_rate_limit_switches_it_off() -> None:
    loaded = settings.load({"UMD_RATE_LIMIT": "", "UMD_HOST": ""})

    assert (loaded.settings.rate_limit, loaded.origins["rate_limit"]) == ("", "UMD_RATE_LIMIT")
    assert loaded.settings.host == settings.Settings().host


def test_on_railway_its_edge_is_a_known_proxy() -> None:
    there = settings.load({"RAILWAY_ENVIRONMENT_ID": "x"})
    named = settings.load({"RAILWAY_ENVIRONMENT_ID": "x", "UMD_TRUSTED_PROXIES": "10.0.0.0/8"})

    assert there.settings.trusted_proxies == "100.64.0.0/10"
    assert named.settings.trusted_proxies == "10.0.0.0/8"
    assert settings.load({}).settings.trusted_proxies == ""


def test_a_platforms_volume_and_domain_are_defaults() -> None:
    given = {"RAILWAY_VOLUME_MOUNT_PATH": "/app/data", "RAILWAY_PUBLIC_DOMAIN": "umd.up.example"}
    loaded = settings.load(given)
    own = settings.load({**given, "UMD_DATA_DIR": "/own", "UMD_PUBLIC_BASE_URL": "http://own"}).settings

    assert loaded.settings.data_dir == "/app/data"
    assert loaded.settings.public_base_url == "https://umd.up.example"
    assert loaded.origins["public_base_url"] == "RAILWAY_PUBLIC_DOMAIN"
    assert (own.data_dir, own.public_base_url) == ("/own", "http://own")
