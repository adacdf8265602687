"""The table of settings: sources, precedence, and errors that fit on one line and name their source."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from cramwire.transport import MESSAGE_BYTES
from cxldev.config import DeviceConfig, ExhaustionMode, LatencyConfig, StagingConfig, Watermarks
from cxldevd.addresses import Address, parse_address
from cxldevd.settings import TABLE, Settings, SettingsError, build
from cxldevd.sources import resolve


def fail(flags: dict[str, str | None], environment: dict[str, str], config: Path | None = None) -> str:
    """The message of what is refused; it is one line."""
    with pytest.raises(SettingsError) as caught:
        resolve(flags, environment, config)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_defaults_are_the_devices_own() -> None:
    """Nothing given, nothing changed."""
    assert resolve({}, {}, None) == Settings()
    assert Settings().device == DeviceConfig(physical_capacity_bytes=1 << 30)


def test_a_flag_beats_the_environment_beats_the_file(tmp_path: Path) -> None:
    """Each where it is the strongest that was given."""
    config = tmp_path / "device.toml"
    config.write_text('zratio = 1111\nworkers = 11\nphysical = "11MiB"\nsector = 128\n')
    settings = resolve(
        {"zratio": "3333", "workers": None}, {"CXLDEVD_ZRATIO": "2222", "CXLDEVD_WORKERS": "22"}, config
    )
    assert settings.device.zratio_milli == 3333
    assert settings.workers == 22
    assert settings.device.physical_capacity_bytes == 11 << 20
    assert settings.device.sector_bytes == 128
    assert settings.max_watchers == Settings().max_watchers


def test_the_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    """CXLDEVD_CONFIG; --config beats it."""
    one, other = tmp_path / "one.toml", tmp_path / "other.toml"
    one.write_text("workers = 1\n")
    other.write_text("workers = 2\n")
    assert resolve({}, {"CXLDEVD_CONFIG": str(one)}, None).workers == 1
    assert resolve({}, {"CXLDEVD_CONFIG": str(one)}, other).workers == 2


SIDES = ("hosts", "operators", "scrapers")

EXAMPLES: dict[str, tuple[str, Any]] = {
    "listen": ("unix:/run/x.sock", Address("", 0, "/run/x.sock")),
    "operator": ("[::1]:5", Address("::1", 5)),
    "metrics": ("off", None),
    "health": ("127.0.0.1:7703", Address("127.0.0.1", 7703)),
    "insecure": ("on", True),
    "tls-cert": ("own.pem", Path("own.pem")),
    "tls-key": ("own.key", Path("own.key")),
    "host-ca": ("ca.pem", Path("ca.pem")),
    "host-tokens": ("tokens", Path("tokens")),
    "operator-ca": ("ca.pem", Path("ca.pem")),
    "operator-tokens": ("tokens", Path("tokens")),
    "operator-names": ("ops, alice", ("ops", "alice")),
    "metrics-ca": ("ca.pem", Path("ca.pem")),
    "metrics-tokens": ("tokens", Path("tokens")),
    "lane": ("off", "off"),
    "physical": ("64MiB", 64 << 20),
    "zratio": ("2500", 2500),
    "sector": ("256B", 256),
    "page-metadata": ("32", 32),
    "zstd-level": ("3", 3),
    "exhaustion-mode": ("poison", ExhaustionMode.POISON),
    "trim-delay": ("20ms", 20_000_000),
    "staging": ("64KiB", 65_536),
    "staging-delay": ("5ms", 5_000_000),
    "staging-rate": ("2GiB", 1 << 31),
    "credit-share": ("250", 250),
    "watermark-high": ("600", 600),
    "watermark-medium": ("300", 300),
    "watermark-low": ("150", 150),
    "watermark-critical": ("60", 60),
    "watermark-hysteresis": ("10", 10),
    "latency-base": ("1us", 1000),
    "latency-sector": ("2ns", 2),
    "latency-compress": ("3us", 3000),
    "latency-decompress": ("700ns", 700),
    "latency-queue-tail": ("4us", 4000),
    "engines": ("8", 8),
    "block-cache": ("0", 0),
    "time-dilation": ("2.5", 2.5),
    "lease": ("3s", 3_000_000_000),
    "max-lease": ("5min", 300_000_000_000),
    "max-regions": ("2", 2),
    "max-pages-per-request": ("64", 64),
    "max-ranges-per-trim": ("16", 16),
    "event-log": ("10", 10),
    "state": ("state", Path("state")),
    "save-every": ("1min", 60_000_000_000),
    "workers": ("2", 2),
    "max-watchers": ("3", 3),
    "max-watchers-per-host": ("2", 2),
    "max-lanes": ("5", 5),
    "max-transfers": ("12", 12),
    "max-transfers-per-host": ("3", 3),
    "max-in-flight-per-host": ("64KiB", 65_536),
    "max-message": ("5MiB", 5 << 20),
    "max-connections": ("100", 100),
    "attach-rate": ("7", 7),
    "attach-rate-per-host": ("3", 3),
    "max-queued-calls": ("9", 9),
    "max-in-flight": ("1MiB", 1 << 20),
    "drain-grace": ("1s", 1_000_000_000),
    "seed": ("42", 42),
    "log-format": ("json", "json"),
    "log-level": ("debug", "debug"),
    "otlp-endpoint": ("http://collector:4318", "http://collector:4318/v1/traces"),
}


_OWN = {"tls-cert": "own.pem", "tls-key": "own.key"}
NEEDS = {
    **dict.fromkeys(("tls-cert", "tls-key", "host-ca", "operator-ca", "metrics-ca"), _OWN),
    "operator-names": {**_OWN, "operator-ca": "ca.pem"},
    "save-every": {"state": "state"},
}
"""What some settings cannot do without, given as flags."""


def value_of(settings: Settings, name: str) -> Any:
    """What a setting is now."""
    value: Any = settings
    for part in TABLE[name].where.split("."):
        value = getattr(value, part)
    return value


@pytest.mark.parametrize("name", sorted(set(TABLE) - {"ready-file"}))
def test_each_setting_from_each_source(name: str, tmp_path: Path) -> None:
    """Flag, environment and file mean the same; what the default is written as, is the default."""
    text, value = EXAMPLES[name]
    config = tmp_path / "device.toml"
    config.write_text(f'{name} = "{text}"\n')
    needs = {flag: given for flag, given in NEEDS.get(name, {}).items() if flag != name}
    assert value_of(resolve({**needs, name: text}, {}, None), name) == value
    assert value_of(resolve(needs, {TABLE[name].variable: text}, None), name) == value
    assert value_of(resolve(needs, {}, config), name) == value
    if TABLE[name].default_text != "none":
        assert resolve({name: TABLE[name].default_text}, {}, None) == Settings()


def test_all_that_a_device_is_built_from_can_be_set() -> None:
    """A new field of DeviceConfig needs a new row."""
    settable = {setting.where for setting in TABLE.values()}
    fields = {f"device.{one.name}" for one in dataclasses.fields(DeviceConfig)}
    fields |= {f"device.watermarks.{one.name}" for one in dataclasses.fields(Watermarks)}
    fields |= {f"device.latency.{one.name}" for one in dataclasses.fields(LatencyConfig)}
    fields |= {f"device.staging.{one.name}" for one in dataclasses.fields(StagingConfig)}
    fields -= {"device.watermarks", "device.latency", "device.staging"}
    fields |= {one.name for one in dataclasses.fields(Settings)} - {"device", "identity"}
    fields |= {f"identity.{one}" for one in ("cert", "key", "operator_names")}
    fields |= {f"identity.{side}.{one}" for side in SIDES for one in ("ca", "tokens")}
    assert settable == fields


@pytest.mark.parametrize(
    ("flags", "environment", "message"),
    [
        ({"trim-delay": "5"}, {}, "--trim-delay: '5' is not a time"),
        ({"physical": "much"}, {}, "--physical: 'much' is not a size"),
        ({"workers": "0"}, {}, "--workers: 0 is too small: at least 1"),
        ({"workers": "two"}, {}, "--workers: 'two' is not a whole number"),
        ({"zratio": "-1"}, {}, "--zratio: -1 is too small"),
        ({"time-dilation": "nan"}, {}, "--time-dilation: 'nan' is not between 0 and 1e9"),
        ({"time-dilation": "x"}, {}, "--time-dilation: 'x' is not a number"),
        ({"log-format": "xml"}, {}, "--log-format: 'xml' is not one of text, json"),
        ({"otlp-endpoint": "collector:4318"}, {}, "--otlp-endpoint: 'collector:4318' is no OTLP endpoint"),
        ({"exhaustion-mode": "panic"}, {}, "--exhaustion-mode: 'panic' is not one of refuse, poison"),
        ({"listen": "7700"}, {}, "--listen: '7700' is not an address"),
        ({"metrics": "unix:/x"}, {}, "--metrics: 'unix:/x': metrics are served on TCP only"),
        ({}, {"CXLDEVD_SECTOR": "100"}, "CXLDEVD_SECTOR: sector is 64..4096 bytes, a power of two"),
        ({}, {"CXLDEVD_INSECURE": "maybe"}, "CXLDEVD_INSECURE: 'maybe' is neither true nor false"),
        ({}, {"CXLDEVD_PHYSICS": "1"}, "CXLDEVD_PHYSICS: there is no such setting"),
        ({"physical": "1KiB"}, {}, "--physical: physical capacity is at least 4096 bytes"),
        ({"watermark-low": "260"}, {}, "--watermark-low: watermarks must fall"),
        (
            {"max-lease": "30s"},
            {"CXLDEVD_LEASE": "40s"},
            "CXLDEVD_LEASE, --max-lease: default lease is above 0 and at most the maximum",
        ),
        (
            {"max-pages-per-request": "4000"},
            {},
            f"--max-pages-per-request: 4000 pages do not fit a message of {MESSAGE_BYTES} bytes",
        ),
        ({"listen": "0.0.0.0:7700"}, {}, "--listen: 0.0.0.0:7700 can be reached from other machines"),
        ({}, {"CXLDEVD_METRICS": "[::]:1"}, "CXLDEVD_METRICS: [::]:1 can be reached from other machines"),
        ({"operator": "example.com:1"}, {}, "--operator: example.com:1 can be reached"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    flags: dict[str, str | None], environment: dict[str, str], message: str
) -> None:
    """Source first, then the reason."""
    assert fail(flags, environment).startswith(message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("workers = [1]", "workers: write one value, not list"),
        ("[device]\nzratio = 1", "device: there is no such setting"),
        ("zratoi = 3000", "zratoi: there is no such setting"),
        ("trim-delay = 5", "trim-delay: '5' is not a time"),
        ("workers = 1.5", "workers: '1.5' is not a whole number"),
        ("workers = ", " not TOML: "),
        ("zratio = 999", "zratio: zratio is 1000..64000 per mille"),
    ],
)
def test_what_is_wrong_in_a_file(content: str, message: str, tmp_path: Path) -> None:
    """The file and the key are named."""
    config = tmp_path / "device.toml"
    config.write_text(content + "\n")
    told = fail({}, {}, config)
    assert told.startswith(f"{config}: ")
    assert message in told


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Is said to be not there."""
    assert fail({}, {}, tmp_path / "none.toml") == f"{tmp_path}/none.toml: No such file or directory"


def test_what_is_overridden_must_be_right_too() -> None:
    """A wrong variable behind a flag would bite on another day."""
    assert fail({"workers": "2"}, {"CXLDEVD_WORKERS": "x"}).startswith("CXLDEVD_WORKERS: ")


def test_kubernetes_variables_are_not_ours() -> None:
    """A Service named cxldevd puts these into every pod."""
    environment = {
        "CXLDEVD_SERVICE_HOST": "10.0.0.1",
        "CXLDEVD_SERVICE_PORT": "7700",
        "CXLDEVD_SERVICE_PORT_GRPC": "7700",
        "CXLDEVD_PORT": "tcp://10.0.0.1:7700",
        "CXLDEVD_PORT_7700_TCP_ADDR": "10.0.0.1",
    }
    assert resolve({}, environment, None) == Settings()


def test_insecure_allows_all_addresses() -> None:
    """When it is asked for in plain words."""
    settings = resolve({"listen": "0.0.0.0:7700", "insecure": "on"}, {}, None)
    assert settings.listen == Address("0.0.0.0", 7700)  # noqa: S104 - this is what it is about


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("127.0.0.1:1", True),
        ("127.9.9.9:0", True),
        ("localhost:65535", True),
        ("[::1]:7", True),
        ("unix:/run/a.sock", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("192.168.0.1:1", False),
        ("device.example:1", False),
    ],
)
def test_addresses_are_read_and_written(text: str, local: bool) -> None:
    """And known to be this machine's own, or not."""
    address = parse_address(text)
    assert str(address) == text
    assert address.local is local


@pytest.mark.parametrize(
    "text", ["", ":1", "a", "a:", "a:b", "a:-1", "a:65536", "::1:5", "unix:", "unix:/" + "x" * 107]
)
def test_what_is_no_address(text: str) -> None:
    """Is refused."""
    with pytest.raises(ValueError):
        parse_address(text)


def test_settings_are_built_from_values() -> None:
    """Nested ones too; the rest stays."""
    built = build({"engines": 2, "watermark-high": 700, "workers": 9})
    assert built.device.latency == LatencyConfig(engines=2)
    assert built.device.watermarks == Watermarks(high_milli=700)
    assert built.workers == 9
