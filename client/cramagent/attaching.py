"""From the addresses of devices to sessions: attach, or go on with what a run before left."""

from __future__ import annotations

import dataclasses
import logging
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import grpc

from cramagent.channel import open_channel
from cramagent.kept_state import StateUnusable, read_state, use_up
from cramagent.node_client import NodeClient
from cramagent.parts import Options, credentials
from cramagent.policy.settings import SettingError
from cramagent.refusals import NodeRefused, NodeSilent, NoLane
from cramwire.channel import CredentialsProblem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cramagent.addresses import DeviceAddress
    from cramagent.attachment import Attachment
    from cramagent.kept_state import KeptState
    from cramagent.log import AgentLog
    from cramagent.machine import Machine
    from cramwire.otel import Traces

_HINTS: Final = {
    "ALREADY_ATTACHED": "; --take-over ends that session",
    "LOGICAL_CAPACITY": "; ask for a smaller region with --node (a size, or a share of the source)",
    "UNAUTHENTICATED": "; give --token-file, or set CRAM_AGENT_TOKEN",
    "NOT_ALLOWED": "; give --host the name of the certificate or of the token",
    "GUARANTEE_CAPACITY": "; ask for less with --guaranteed",
}
"""What to change on our command line, by the reason of a refused attach."""


class RunFailed(Exception):
    """The run cannot begin or go on; the message is one line for people."""


def open_client(device: DeviceAddress, options: Options, traces: Traces | None = None) -> NodeClient:
    """A channel to a device; nothing is sent yet.

    Raises:
        SettingError: credentials that cannot be used.
    """
    if not options["device_timeout"]:
        raise SettingError("--device-timeout is above 0")
    shown = credentials(options)
    if shown.ca is not None and shown.server_name is None and device.name is not None:
        shown = dataclasses.replace(shown, server_name=device.name)
    try:
        channel = open_channel(device.address, shown)
    except CredentialsProblem as problem:
        raise SettingError(str(problem)) from problem
    return NodeClient(
        device.address, options["device_timeout"], options["transport"], channel=channel, traces=traces
    )


def tell_apart(clients: Sequence[NodeClient], kept: KeptState | None) -> list[NodeClient]:
    """The clients by number of their nodes; of a run that goes on, each device where it was before.

    Raises:
        RunFailed: a device does not answer, or has two of the addresses.
    """
    if len(clients) == 1:
        return list(clients)
    by_generation: dict[str, NodeClient] = {}
    for client in clients:
        with answered(client.address):
            generation = client.identify().generation
        other = by_generation.setdefault(generation, client)
        if other is not client:
            both = f"{other.address} and {client.address}"
            raise RunFailed(
                f"{both} are one device (generation {generation}): name it once; or two with the same --seed"
            )
    if kept is None:
        return list(clients)
    places = [by_generation.pop(session.generation, None) if session else None for session in kept.sessions]
    others = iter(by_generation.values())
    return [client or next(others) for client in places]


def kept_of(options: Options, settings: dict[str, Any]) -> KeptState | None:
    """What the run before left, if it left something.

    Raises:
        RunFailed: it cannot be used.
    """
    path = options["state"]
    if path is None:
        return None
    try:
        kept = read_state(path)
        if kept is not None:
            kept.check(settings)
    except StateUnusable as error:
        raise RunFailed(f"--state: {path} cannot be used: {error}") from error
    except OSError as error:
        raise RunFailed(f"--state: {path}: {error.strerror}") from error
    return kept


def begin(machine: Machine, kept: KeptState | None, options: Options, log: AgentLog) -> None:
    """Get the regions; those of the run before, and all that they held, where that left its state.

    Raises:
        RunFailed: a device says no, or nothing; or the state cannot be used.
    """
    try:
        if kept is None:
            # With --state: what a run that was killed left there, nobody knows any more. It is trimmed.
            attach(machine, options, take_over=options["state"] is not None)
        else:
            _go_on(machine, kept, options, log)
    except RunFailed:
        for node in machine.attachments:
            if node.link.session is None:
                continue
            with suppress(NodeRefused, NodeSilent):
                if kept is None:
                    node.link.close()
                else:
                    node.link.leave()
        raise


def attach(machine: Machine, options: Options, *, take_over: bool = False) -> None:
    """Get new regions; `take_over`: whether or not the options say so.

    Raises:
        RunFailed: a device says no, or nothing.
    """
    for node in machine.attachments:
        with answered(node.device):
            telemetry = node.link.attach(take_over=take_over or options["take_over"])
        machine.attached(node, telemetry)


def _go_on(machine: Machine, kept: KeptState, options: Options, log: AgentLog) -> None:
    path = options["state"]
    assert path is not None, "what is kept was read from there"
    found = []
    for node, session in zip(machine.attachments, kept.sessions, strict=True):
        with answered(node.device):
            found.append(None if session is None else node.link.resume(session))
    try:
        kept.recall(machine)
        use_up(path)
    except StateUnusable as error:
        raise RunFailed(f"--state: {path} cannot be used: {error}") from error
    except OSError as error:
        raise RunFailed(f"--state: {path}: {error.strerror}") from error
    resumed: list[Attachment] = []
    for node, telemetry in zip(machine.attachments, found, strict=True):
        if telemetry is None:
            _not_resumed(node, log, alone=len(found) == 1)
        else:
            machine.resumed(node, telemetry)
            resumed.append(node)
    if not resumed:
        return
    verified = machine.verifier.verify()
    log.tell(
        "session_resumed",
        f"gone on with: {verified.compared} pages verified, {verified.lost} lost, {verified.unread} unread",
        **(resumed[0].facts if len(found) == 1 else {}),
        pages_verified=verified.compared,
        pages_lost=verified.lost,
    )


def _not_resumed(node: Attachment, log: AgentLog, *, alone: bool) -> None:
    reason = node.link.over_reason
    if not reason:
        # There was none to resume.
        return
    sentence = f"the session of the run before is over ({reason})"
    log.tell(
        "session_not_resumed",
        sentence if alone else f"{node.device}: {sentence}",
        level=logging.WARNING,
        **node.facts,
        reason=reason,
    )


@contextmanager
def answered(device: str) -> Iterator[None]:
    """Around the first calls to a device: what it says, or does not, as one line for people.

    Raises:
        RunFailed: instead of a refusal or silence.
    """
    try:
        yield
    except NodeSilent as silent:
        raise RunFailed(f"no device answers at {device}: {silent}") from silent
    except NoLane as none:
        raise RunFailed(
            f"no lane to {device}: {none.refusal.message or none}; a lane needs a device on a unix socket of "
            "this machine (cxldevd --listen unix:PATH), and --transport auto does without where there is none"
        ) from none
    except NodeRefused as refused:
        refusal = refused.refusal
        if refusal.code is grpc.StatusCode.UNIMPLEMENTED:
            raise RunFailed(
                f"{device} is no hosts' listener of cxldevd: hosts attach at one address (its --listen), "
                "operators at another"
            ) from refused
        hint = _HINTS.get(refusal.reason, "")
        raise RunFailed(f"the device at {device} refused: {refused}{hint}") from refused
