"""The command line: help, settings from three places, and one line for each mistake."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cramagent import main as program
from cramagent.cli import default_host, run
from cramagent.options import Amount, AmountType
from server_helpers import bench_of

if TYPE_CHECKING:
    from pathlib import Path

RUN_ON = ["run", "--source", "synthetic", "--device-timeout", "100ms", "--device"]
RUN = [*RUN_ON, "127.0.0.1:1"]


@pytest.fixture(autouse=True)
def _not_tuned(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process' malloc and environment are not the program's to tune."""
    monkeypatch.setattr(program, "tune_malloc", lambda: False)
    monkeypatch.setattr(program, "tune_grpc", lambda: False)


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """(exit status, stdout, stderr) of the program."""
    with pytest.raises(SystemExit) as ended:
        program.main(arguments)
    out, err = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, out, err


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (["--device", "nowhere"], "write HOST:PORT or unix:"),
        (["--source", "disk"], "'disk' is not a source: write pid:1234"),
        (["--source", "pid:4194305"], "no process 4194305"),
        (["--source", "file:/does/not/exist"], "/does/not/exist cannot be read: No such file"),
        (["--dram", "many"], "'many' is not a size"),
        (["--dram", "0%"], "'0%' is not a share"),
        (["--dram", "10KiB"], "dram is at least 16 pages (64KiB), not 3"),
        (["--node", "0"], "--node: a region is at least one page (4KiB)"),
        (["--budget", "-1"], "Invalid value for '--budget'"),
        (["--budget", "token"], "'token' is not a number of pages from 0 on, or `tokens`"),
        (["--credit-stock", "0"], "Invalid value for '--credit-stock'"),
        (["--mapping", "none"], "Invalid value for '--mapping'"),
        (["--close-pressure", "100"], "pressures: 0 <= open < close"),
        (["--pattern", "lru"], "'lru' is not a pattern"),
        (["--zero", "0.7", "--incompressible", "0.7"], "more than all of them"),
        (["--interval", "0"], "--interval is above 0"),
        (["--interval", "1"], "'1' is not a time: write 250ns"),
        (["--metrics", "9464"], "is not HOST:PORT, nor off"),
        (["--json", "/does/not/exist/report.json"], "--json: /does/not/exist/report.json cannot be written"),
        (["--swap-dir", "/does/not/exist"], "Invalid value for '--swap-dir'"),
        (["--no-such-option"], "No such option"),
    ],
)
def test_a_wrong_option_is_one_line(capsys: pytest.CaptureFixture[str], more: list[str], why: str) -> None:
    """Exit status 2, nothing on stdout, and what is wrong."""
    code, out, err = call(capsys, *RUN, *more)
    assert code == 2
    assert not out
    assert err.startswith("cram-agent: ")
    assert why in err
    assert err.count("\n") == 1


def test_a_device_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 1: the options are good."""
    code, _, err = call(capsys, *RUN)
    assert code == 1
    assert err.startswith("cram-agent: no device answers at 127.0.0.1:1: ")
    assert err.count("\n") == 1


def test_stores_of_a_process_are_not_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    """They are seen."""
    code, _, err = call(capsys, *RUN, "--source", "pid:self", "--write-share", "0.5")
    assert (code, "is not a source" in err) == (2, True)


def test_ctrl_c_while_the_program_loads_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """That takes a while, and people are quick."""

    def loading() -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(program, "tune_grpc", loading)
    assert call(capsys, *RUN) == (130, "", "cram-agent: interrupted\n")


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    """As git does."""
    code, _, err = call(capsys)
    assert code == 2
    assert "Commands:" in err


def test_help_names_every_setting_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    """Each has its environment variable, too."""
    code, out, _ = call(capsys, "run", "--help")
    assert code == 0
    assert "Example: shadow a process" in out
    for parameter in run.params:
        if parameter.name not in {"config", "help"}:
            assert parameter.opts[0] in out
            assert parameter.envvar == "CRAM_AGENT_" + str(parameter.name).upper()


def test_the_environment_is_read(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """CRAM_AGENT_NAME, and the command line wins over it."""
    monkeypatch.setenv("CRAM_AGENT_DEVICE", "nowhere")
    monkeypatch.setenv("CRAM_AGENT_PATTERN", "lru")
    assert "'lru'" in call(capsys, "run", "--source", "synthetic")[2]
    assert "'nowhere'" in call(capsys, "run", "--source", "synthetic", "--pattern", "scan")[2]


def test_a_settings_file_is_read(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Keys are the options' names; the command line wins over it."""
    config = tmp_path / "agent.toml"
    config.write_text('device = "nowhere"\nsource = "synthetic"\nbudget = 7\n"open-pressure" = 800\n')
    assert "pressures:" in call(capsys, "run", "--config", str(config))[2]
    assert "'nowhere'" in call(capsys, "run", "--config", str(config), "--open-pressure", "0")[2]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("budgets = 7", "no such option: budgets"),
        ("budget = [1, 2]", "budget has one value, not several"),
        ("budget = ", "agent.toml: Invalid value"),
        ("budget = -1", "Invalid value for '--budget'"),
        ("budget = true", "agent.toml: budget is neither true nor false"),
        ("budget = 1.5", "agent.toml: budget: 1.5 is not a whole number"),
        ("pages = 16.0", "agent.toml: pages: 16.0 is not a whole number"),
        ("max-pages = false", "agent.toml: max_pages is neither true nor false"),
    ],
)
def test_a_wrong_settings_file_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, why: str
) -> None:
    """It names the file or the option."""
    config = tmp_path / "agent.toml"
    config.write_text(text)
    code, _, err = call(capsys, *RUN, "--config", str(config))
    assert code == 2
    assert why in err
    assert err.count("\n") == 1


def test_a_refusal_of_the_device_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A region that it cannot give; a host that is attached already, and how to end that."""
    with bench_of() as bench:
        on = (*RUN_ON, bench.service.address)
        code, _, err = call(capsys, *on, "--node", "1TiB")
        assert (code, "LOGICAL_CAPACITY" in err, err.count("\n")) == (1, True, 1)
        bench.attach("twin")
        code, _, err = call(capsys, *on, "--host", "twin", "--pages", "100")
        assert (code, "--take-over ends that session" in err, err.count("\n")) == (1, True, 1)


def test_a_short_run_leaves_its_report(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """From the options to the JSON, in this process; the ready file said where."""
    report, ready = tmp_path / "report.json", tmp_path / "ready.json"
    with bench_of() as bench:
        code, out, err = call(
            capsys,
            *(*RUN_ON, bench.service.address, "--device-timeout", "5s", "--pages", "200"),
            *("--accesses", "500", "--rate", "0", "--dram", "20%", "--json", str(report)),
            *("--ready-file", str(ready), "--host", "host-a", "--budget", "8", "--seed", "9"),
        )
    assert code == 0, err
    assert "0 wrong" in out
    told = json.loads(report.read_text())
    assert (told["host"], told["seed"], told["exit_reason"]) == ("host-a", 9, "accesses")
    assert told["pages_mismatched"] == 0
    assert told["demotions"] > 0
    facts = json.loads(ready.read_text())
    assert facts["host"] == "host-a"
    assert facts["metrics_address"].startswith("127.0.0.1:")


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    """Where all went well."""
    with bench_of() as bench:
        options = (bench.service.address, "--pages", "64", "--accesses", "10", "--rate", "0")
        assert call(capsys, *RUN_ON, *options, "--device-timeout", "5s", "--quiet", "--metrics", "off") == (
            0,
            "",
            "",
        )


def test_the_default_host_name_is_one_that_devices_take() -> None:
    """1 to 63 characters of a known set."""
    assert 1 <= len(default_host()) <= 63
    assert all(char.isalnum() or char in "._-" for char in default_host())


@pytest.mark.parametrize(
    ("text", "pages"), [("25%", 250), ("1MiB", 256), ("5000", 2), ("0.01%", 1), ("150%", 1500)]
)
def test_amounts(text: str, pages: int) -> None:
    """Sizes, and shares of a source of 1000 pages."""
    amount = AmountType().convert(text, None, None)
    assert isinstance(amount, Amount)
    assert amount.pages(1000) == pages


def test_a_misspelt_variable_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As cxldevd does; what Kubernetes sets for a Service of our name is left alone, and so is the token."""
    monkeypatch.setenv("CRAM_AGENT_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("CRAM_AGENT_PORT_9464_TCP_ADDR", "10.0.0.1")
    monkeypatch.setenv("CRAM_AGENT_TOKEN", "secret")
    code, _, err = call(capsys, *RUN, "--device", "nowhere")
    assert "write HOST:PORT" in err
    monkeypatch.setenv("CRAM_AGENT_BUDGETS", "7")
    code, _, err = call(capsys, *RUN)
    assert code == 2
    assert err == "cram-agent: CRAM_AGENT_BUDGETS: there is no such option; see --help\n"
