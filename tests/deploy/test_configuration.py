"""One configuration: file, then environment and flags above it; errors name where a wrong value was said."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from deploy.configuration import ConfigurationError, environment_of_flags, load_configuration, shown


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "site.toml"
    path.write_text('site = "north"\n[kafka]\npartitions = 8\nbootstrap = "k:1"\n[oidc]\nclient_secret = "from-file"\n')
    return path


def test_environment_stands_above_file_and_flags_above_environment(file: Path) -> None:
    environment = {
        "BIOTWIN_CONFIG": str(file),
        "BIOTWIN_KAFKA__PARTITIONS": "16",
        "BIOTWIN_WORKER__TICKS": "false",
        "BIOTWIN_OIDC__ISSUER": "https://id.example",
        "BIOTWIN_CONSOLE__PUBLIC_URL": "https://ward.example",
        "BIOTWIN_OIDC__CLIENT_ID": "biotwin",
        "BIOTWIN_OIDC__CLIENT_SECRET": "hidden",
        "BIOTWIN_OIDC__ROLES": '{"ward-3": "clinician"}',
        "BIOTWIN_MAVEN_URL": "http://mirror",
    }
    configuration = load_configuration(environment=environment, overrides={"kafka.group": "other"})
    assert configuration.site == "north"
    assert configuration.kafka.bootstrap == "k:1"
    assert configuration.kafka.partitions == 16
    assert configuration.kafka.group == "other"
    assert configuration.worker.ticks is False
    assert configuration.oidc.roles == {"ward-3": "clinician"}
    assert "hidden" not in str(shown(configuration))


def test_without_any_file_the_defaults_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_configuration(environment={}).kafka.partitions == 4
    (tmp_path / "biotwin.toml").write_text("[kafka]\npartitions = 2\n")
    assert load_configuration(environment={}).kafka.partitions == 2


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("BIOTWIN_KAFKA__PARTITIONS", "0", "BIOTWIN_KAFKA__PARTITIONS: '0' does not fit `partitions`: .* >= 1"),
        ("BIOTWIN_KAFKA__PARTITION", "3", "no setting `partition`; there are .*partitions"),
        ("BIOTWIN_NOPE__X", "1", "BIOTWIN_NOPE__X: there is no setting `nope`"),
        ("BIOTWIN_SITE", "No Such Site", "BIOTWIN_SITE: 'No Such Site' does not fit `site`"),
        ("BIOTWIN_CONFIG", "/nowhere/b.toml", "/nowhere/b.toml: no such configuration file"),
        ("BIOTWIN_TOKENS", "x", "BIOTWIN_TOKENS: takes JSON"),
    ],
)
def test_errors_name_the_variable(variable: str, value: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        load_configuration(environment={variable: value})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[kafka]\npartitions = "many"\n', r"site.toml: Expected `int`, got `str` - at `\$.kafka.partitions`"),
        ("[kafka]\nbootstrapp = 1\n", r"site.toml: .*unknown field `bootstrapp`"),
        ("[kafka\n", r"site.toml: .*line 1"),
    ],
)
def test_errors_name_the_file(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "site.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        load_configuration(path, environment={})


def test_secrets_are_masked_where_shown(file: Path) -> None:
    configuration = load_configuration(
        file, environment={"BIOTWIN_MQTT__PASSWORD": "hunter2", "BIOTWIN_TOKENS": '{"t0k3n": "Dr. Example"}'}
    )
    text = orjson.dumps(shown(configuration)).decode()
    assert "hunter2" not in text
    assert "t0k3n" not in text
    assert "from-file" not in text
    assert shown(configuration)["kafka"]["bootstrap"] == "k:1"


def test_a_wrong_secret_is_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_configuration(environment={"BIOTWIN_TOKENS": '["s3cret"]'})
    assert "s3cret" not in str(caught.value)


def test_flags_say_the_same_as_variables() -> None:
    flags = environment_of_flags(
        kafka="kafka://10.0.0.1:9092", mqtt="mqtts://user:p%40ss@broker", settings=["worker.ticks=false"]
    )
    configuration = load_configuration(environment=flags)
    assert configuration.kafka.bootstrap == "10.0.0.1:9092"
    assert (configuration.mqtt.host, configuration.mqtt.port, configuration.mqtt.tls) == ("broker", 8883, True)
    assert (configuration.mqtt.username, configuration.mqtt.password) == ("user", "p@ss")
    assert configuration.worker.ticks is False


@pytest.mark.parametrize("url", ["http://h", "mqtt://", "mqtt://h:99999"])
def test_a_wrong_mqtt_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="--mqtt"):
        environment_of_flags(mqtt=url)
