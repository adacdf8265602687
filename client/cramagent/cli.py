"""The command line of `cram-agent`."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from cramagent.attaching import RunFailed
from cramagent.log import LOG_FORMS, LOG_LEVELS
from cramagent.options import (
    AmountType,
    BudgetType,
    OtlpType,
    SizeType,
    TimeType,
    choice,
    option,
    read_config,
    refuse_unknown,
)
from cramagent.patterns import PatternError
from cramagent.policy.settings import Admission, Mapping, OnBusError, Placement, SettingError, Writeback
from cramagent.roads import TRANSPORTS
from cramagent.session import run_agent
from cramagent.sources import SourceError

if TYPE_CHECKING:
    from cramagent.parts import Options

FILE = click.Path(dir_okay=False, path_type=Path)

_EXAMPLE = """
\b
Example: shadow a process on a device that serves here, with a quarter of its memory in DRAM
    cram-agent run --device 127.0.0.1:7700 --source pid:4242 --dram 25% --budget 64 --json report.json

\b
Example: a seeded workload for 30 s, its metrics on port 9464
    cram-agent run --device unix:/run/cxldevd.sock --source synthetic --pages 20000 \\
        --duration 30s --metrics 127.0.0.1:9464
"""


def default_host() -> str:
    """This machine's name and our process number, within what a device takes as a host's name."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname().partition(".")[0])[:40]
    return f"{name or 'host'}-{os.getpid()}"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="cramulator", prog_name="cram-agent")
def cli() -> None:
    """The host's side of a compressed memory device: policy, and the runner around it."""


@cli.command(epilog=_EXAMPLE)
@click.option(
    "--config",
    type=FILE,
    is_eager=True,
    expose_value=False,
    callback=read_config,
    help="A TOML file with any of these options.",
)
@option(
    "--device",
    "HOST:PORT or unix:PATH. Several: repeat it, or commas; dns:///NAME:PORT: all devices of a name.",
    required=True,
    multiple=True,
)
@option("--placement", "Several devices: which one demotions go to.", type=choice(Placement), default="fill")
@option("--source", "pid:N, core:FILE, file:PATH or synthetic.", required=True)
@option("--dram", "DRAM for the source: a size, or a share of it.", type=AmountType(), default="25%")
@option("--node", "Size of the region to attach, on each device.", type=AmountType(), default="150%")
@option("--guaranteed", "Media that other hosts cannot take, of each device.", type=SizeType(), default="0")
@option("--limit", "Media that this host may take at most, of each device.", type=SizeType())
@option("--host", "This host's name at the device.  [default: HOSTNAME-PID]")
@option("--lease", "How long the device keeps the region without a renewal.", type=TimeType())
@option("--take-over", "End a session that this host's name still holds.", is_flag=True)
@option("--device-timeout", "How long a device that does not answer is asked.", type=TimeType(), default="3s")
@option(
    "--end-timeout",
    "How long the end of the run waits for such a device, to read back what lies there.",
    type=TimeType(),
    default="10s",
)
@option(
    "--transport",
    "How pages travel. auto: shared memory where the device is on a unix socket of this machine, else "
    "grpc: on calls that stay open. calls: each command a call by itself.",
    type=click.Choice(TRANSPORTS),
    default="auto",
)
@option("--tls-ca", "Speak TLS; the CA of the device's certificate, PEM.", type=FILE)
@option("--tls-cert", "This host's certificate, PEM; its SAN is --host.", type=FILE)
@option("--tls-key", "The private key to it, PEM.", type=FILE)
@option("--tls-name", "The name in the device's certificate, if not that of the address.")
@option("--token-file", "A file with this host's token. Or set CRAM_AGENT_TOKEN.", type=FILE)
@option("--mapping", "What demotion leaves in the page tables.", type=choice(Mapping), default="fault")
@option(
    "--budget",
    "Device pages mapped writable at one time, on all devices; tokens: as many as each grants credits for.",
    type=BudgetType(),
    default="0",
)
@option(
    "--credit-stock", "tokens: unspent credits to have of each device.", type=click.IntRange(1), default=256
)
@option("--credit-interval", "tokens: between two requests.", type=TimeType(), default="100ms")
@option("--admission", "When demotion stops.", type=choice(Admission), default="optimistic")
@option("--on-bus-error", "After a store that cannot be taken.", type=choice(OnBusError), default="kill")
@option("--writeback", "The tiers behind the node.", type=choice(Writeback), default="zswap")
@option("--close-pressure", "The node closes at this.", type=click.IntRange(0, 1000), default=750)
@option("--open-pressure", "It opens again at this.", type=click.IntRange(0, 1000), default=250)
@option("--low-watermark", "kswapd wakes at this: free DRAM, per mille.", type=int, default=40)
@option("--high-watermark", "It stops at this: free DRAM, per mille.", type=int, default=80)
@option("--watermark-boost", "Added at full pressure, per mille.", type=int, default=100)
@option("--demote-batch", "Pages demoted in one write.", type=int, default=256)
@option("--writeback-batch", "Pages written back in one turn.", type=int, default=256)
@option("--reap-batch", "Entries that the reaper looks at in one turn.", type=int, default=1024)
@option("--trim-buffer", "Freed pages of each device that may wait for TRIM.", type=int, default=16_384)
@option("--fault-around", "Pages that a read fault maps R/O at once; 1: itself alone.", type=int, default=1)
@option("--read-ahead", "Pages that one swap-in from the swap file brings in.", type=int, default=8)
@option("--writable-age", "Unused writable mappings live so long.", type=TimeType(), default="2s")
@option("--balloon-step", "The balloon moves by this.", type=SizeType(), default="8MiB")
@option("--balloon-deflate", "Recovery before it deflates, per mille.", type=int, default=100)
@option("--balloon-min", "Stored pages before the ratio counts.", type=int, default=256)
@option("--zswap", "What zswap may hold; a share is of DRAM.", type=AmountType(), default="20%")
@option("--swap", "Size of the swap file.", type=SizeType(), default="4GiB")
@option(
    "--swap-dir",
    "Folder for the swap file.",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(os.environ.get("TMPDIR", "/tmp")),  # noqa: S108  # mkstemp makes the file, and it has no name afterwards
)
@option("--pattern", "Drawn reads: zipf[:S], scan or hotset[:PAGES:HITS].", default="zipf")
@option(
    "--write-share",
    "Drawn accesses that are stores.",
    type=click.FloatRange(0, 1),
    default=0.0,
)
@option("--seed", "Of everything that is drawn.", type=click.IntRange(0, 2**63 - 1), default=0)
@option("--rate", "Drawn accesses a second; 0: no limit.", type=click.IntRange(0), default=2_000)
@option("--batch", "Drawn accesses that are resolved together.", type=click.IntRange(1, 256), default=64)
@option("--interval", "Between two looks at the source.", type=TimeType(), default="1s")
@option("--duration", "End after this; 0: no limit.", type=TimeType(), default="0")
@option("--accesses", "End after so many drawn accesses; 0: no limit.", type=click.IntRange(0), default=0)
@option("--max-pages", "Most pages taken from the source.", type=click.IntRange(1), default=262_144)
@option("--pages", "synthetic: pages of the parent.", type=int, default=16_384)
@option("--zero", "synthetic: share of pages of zeros.", type=float, default=0.1)
@option("--incompressible", "synthetic: share that no codec shrinks.", type=float, default=0.1)
@option("--stores", "synthetic: share stored to in an interval.", type=float, default=0.02)
@option("--frees", "synthetic: share given back in an interval.", type=float, default=0.005)
@option("--forks", "synthetic: most children at one time.", type=int, default=2)
@option(
    "--unnoticed",
    "synthetic, pid: share of frees (exits) that the host is not told of.",
    type=float,
    default=0.25,
)
@option(
    "--drift-to",
    "synthetic: what is stored drifts to this share of incompressible pages.",
    type=click.FloatRange(0, 1),
)
@option(
    "--drift-intervals",
    "synthetic: ... within so many intervals.",
    type=click.IntRange(1),
    default=60,
)
@option("--metrics", "HOST:PORT of /metrics, or off; port 0: any.", default="127.0.0.1:0")
@option(
    "--events",
    "Write here when the node opens, closes, goes and comes: JSON lines.",
    type=FILE,
)
@option("--json", "Write the report here.", type=FILE)
@option(
    "--ready-file",
    "Say here when we serve, as JSON.",
    type=FILE,
)
@option(
    "--state",
    "Keep the run here when it ends in order, and go on from it: same pages, same session. Needs --host.",
    type=FILE,
)
@option("--quiet", "Say only what is wrong.", is_flag=True)
@option(
    "--log-format",
    "plain: sentences. text, json: one line per event on stderr, with its facts; no summary.",
    type=click.Choice(LOG_FORMS),
    default="plain",
)
@option(
    "--otlp-endpoint",
    "Send traces there: http://HOST:4318. Or set OTEL_EXPORTER_OTLP_ENDPOINT.",
    type=OtlpType(),
)
@option("--log-level", "The least that is told.", type=click.Choice(LOG_LEVELS), default="info")
def run(host: str | None, **options: Any) -> int:
    """Run a host on its devices, until it is stopped (SIGTERM, Ctrl-C), its source ends, or a limit is met.

    A source's pages go to DRAM first; what is cold is demoted to the device. Reads are drawn from the
    access pattern (a process' or a file's reads cannot be seen), its stores are real. Every byte that is
    read back is compared with what the page should hold. At the end everything is verified once more,
    the region is given back, and the report is written. With --state the region is not given back: the next
    run with the same FILE goes on where this one ended, if it begins within the lease.

    Exit status: 0, all that could be read was right; 1, a byte was wrong, or the run could not go on; 2, a
    wrong option. A second signal ends the run at once, without looking back. SIGUSR1 lets the host's programs
    stand still (no accesses, nothing new stored; daemons and lease go on), SIGUSR2 lets them go on.
    """
    refuse_unknown(click.get_current_context(), os.environ)
    if options["state"] is not None and host is None:
        raise click.UsageError("--state: give --host a name that the next run has, too")
    try:
        code = run_agent(default_host() if host is None else host, cast("Options", options))
    except (SettingError, PatternError, SourceError) as error:
        raise click.UsageError(str(error)) from error
    except RunFailed as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        click.echo("ended at once, nothing was verified", err=True)
        code = 130
    return code
