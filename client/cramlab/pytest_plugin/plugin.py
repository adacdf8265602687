"""What pytest loads: options, markers, fixtures. What is heavy is imported with the first use."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import pytest

from cramlab.pytest_plugin import evidence, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from typing import TypeAlias

    from cramlab.pytest_plugin.agent import CxlAgent
    from cramlab.pytest_plugin.device import CxlDevice

    DeviceFactory: TypeAlias = Callable[..., CxlDevice]
    AgentFactory: TypeAlias = Callable[..., CxlAgent]

_SHARED_DEVICE: Final = pytest.StashKey["CxlDevice"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Settings for every device and agent of a suite."""
    settings.add_ini(parser)


def pytest_configure(config: pytest.Config) -> None:
    """The two markers."""
    settings.add_markers(config)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Refuse markers that nobody would heed; see to it that the test leaves a shared device clean."""
    settings.check_markers(item)
    evidence.begin(item)
    try:
        yield
    finally:
        shared = item.config.stash.get(_SHARED_DEVICE, None)
        if shared is not None and "cxl_session_device" in getattr(item, "fixturenames", ()):
            # Runs before the test's own fixtures end, and whatever becomes of them.
            item.addfinalizer(shared.leave_clean)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """The logs of a failed test's processes go with its report."""
    report = yield
    evidence.attach(item, report)
    return report


# -- one for each test -------------------------------------------------------------------------------


@pytest.fixture
def cxl_device_factory(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DeviceFactory]:
    """Starts devices: `cxl_device_factory(physical="16MiB", exhaustion_mode="poison")`.

    Keywords are the settings of `cxldevd`, over those of the test's markers and of the suite. They end
    with the test.
    """
    from cramlab.pytest_plugin.device import CxlDevice  # noqa: PLC0415 - grpc comes with it

    with ExitStack() as stack:

        def start(**given: object) -> CxlDevice:
            wanted = settings.merged(settings.DEVICE, request.config, request.node, given)
            device = CxlDevice(tmp_path_factory.mktemp("cxl-device"), wanted)
            evidence.watch(request.node, device.process)
            settings.start(device.process)
            stack.callback(device.close)
            return device

        yield start


@pytest.fixture
def cxl_device(cxl_device_factory: DeviceFactory) -> CxlDevice:
    """A device of this test alone, on ports that the system chose."""
    return cxl_device_factory()


@pytest.fixture
def cxl_agent_factory(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AgentFactory]:
    """Starts hosts: `cxl_agent_factory(device, source="synthetic", pages=2000, dram="25%")`.

    Without a device: on `cxl_device`. Keywords are the options of `cram-agent run`. They end before
    their devices do.
    """
    from cramlab.pytest_plugin.agent import CxlAgent  # noqa: PLC0415 - numpy comes with it

    with ExitStack() as stack:

        def start(device: CxlDevice | None = None, **given: object) -> CxlAgent:
            on: CxlDevice = device or request.getfixturevalue("cxl_device")
            wanted = settings.merged(settings.AGENT, request.config, request.node, given)
            agent = CxlAgent(tmp_path_factory.mktemp("cxl-agent"), on.address, wanted)
            evidence.watch(request.node, agent.process)
            settings.start(agent.process)
            stack.callback(agent.close)
            return agent

        # Before this fixture is left, and so before its agents end, the device must not.
        if "cxl_device" in request.fixturenames:
            request.getfixturevalue("cxl_device")
        yield start


@pytest.fixture
def cxl_agent(cxl_device: CxlDevice, cxl_agent_factory: AgentFactory) -> CxlAgent:
    """A host on `cxl_device`, of this test alone. A wrong byte that it finds fails the test."""
    return cxl_agent_factory(cxl_device)


# -- one for all tests -------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def cxl_session_device(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CxlDevice]:
    """A device that all tests share: faster, but what a test leaves on it stays. Faults are cleared."""
    from cramlab.pytest_plugin.device import CxlDevice  # noqa: PLC0415 - grpc comes with it

    device = CxlDevice(
        tmp_path_factory.mktemp("cxl-session-device"),
        settings.merged(settings.DEVICE, request.config, None, {}),
    )
    evidence.watch_shared(request.config, "cxl_session_device", device.process)
    settings.start(device.process)
    request.config.stash[_SHARED_DEVICE] = device
    try:
        yield device
    finally:
        device.close()


@pytest.fixture(scope="session")
def cxl_session_agent(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    cxl_session_device: CxlDevice,
) -> Iterator[CxlAgent]:
    """A host on `cxl_session_device` that all tests share."""
    from cramlab.pytest_plugin.agent import CxlAgent  # noqa: PLC0415 - numpy comes with it

    wanted = settings.merged(settings.AGENT, request.config, None, {})
    agent = CxlAgent(tmp_path_factory.mktemp("cxl-session-agent"), cxl_session_device.address, wanted)
    evidence.watch_shared(request.config, "cxl_session_agent", agent.process)
    settings.start(agent.process)
    try:
        yield agent
    finally:
        agent.close()
