"""The pytest plugin as a user's own suite meets it: small suites, each run by a pytest of its own."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

pytestmark = pytest.mark.e2e


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """An empty suite that knows the plugin by its entry point, and nothing of this repository's settings."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    return pytester


def run(suite: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """The suite in a process of its own, as users run it."""
    return suite.runpytest_subprocess("-p", "no:cacheprovider", "-rA", *arguments, timeout=100)


def test_a_suite_uses_devices_hosts_and_faults(suite: pytest.Pytester) -> None:
    """The example of the documentation, an agent, several faults at once, a restart, another device."""
    suite.makeini(
        """
        [pytest]
        cxl_device_settings =
            physical = 8MiB
            zratio = 2000
        cxl_agent_settings =
            pages = 600
        """
    )
    suite.makepyfile(
        """
        import grpc
        import pytest
        from cramctl.operator import OperatorError
        from cramwire.v1 import device_pb2, device_pb2_grpc, memory_pb2, memory_pb2_grpc

        class Driver:
            def __init__(self, address):
                channel = grpc.insecure_channel(address)
                self.memory = memory_pb2_grpc.MemoryServiceStub(channel)
                request = device_pb2.AttachRequest(host="driver", logical_bytes=1 << 20)
                made = device_pb2_grpc.DeviceServiceStub(channel).Attach(request)
                self.ref = {"session": made.session, "generation": made.generation}

            def store(self):
                self.memory.Write(memory_pb2.WriteRequest(dpas=[0], data=bytes(range(256)) * 16, **self.ref))

        def test_my_driver_survives_exhaustion(cxl_device):
            driver = Driver(cxl_device.address)
            with cxl_device.exhausted() as fault:
                with pytest.raises(grpc.RpcError, match="RESOURCE_EXHAUSTED"):
                    driver.store()
                assert cxl_device.telemetry().faults == ("exhaustion",)
            assert cxl_device.telemetry().writes_refused > 0
            driver.store()
            assert cxl_device.telemetry().stored_pages == 1
            kinds = [event["event"] for event in cxl_device.events()]
            assert kinds[-1] == "no_more_writes_left" or "fault_cleared" in kinds

        @pytest.mark.cxl_device(exhaustion_mode="poison", zratio=3000)
        @pytest.mark.cxl_agent(duration="0", dram="25%")
        def test_the_host_notices(cxl_device, cxl_agent):
            assert cxl_device.status()["exhaustion_mode"] == "poison"
            told = cxl_device.wait_for(lambda now: now.stored_pages > 100)
            assert (told.physical_capacity_bytes, told.logical_capacity_bytes) == (8 << 20, 24 << 20)
            assert told.hosts == (cxl_agent.host,)
            with cxl_device.inject("latency", wall="1ms", only="write") as slow, cxl_device.inject("ratio-collapse", ratio=1):
                cxl_agent.wait_for(lambda now: now.total("cram_demotions_total", {"outcome": "ok"}) > 0)
            assert cxl_device.telemetry().faults == ()
            report = cxl_agent.stop()
            assert report["pages_mismatched"] == 0 and report["pages_verified"] > 0

        def test_power_is_lost(cxl_device, cxl_device_factory):
            other = cxl_device_factory(physical="4MiB")
            before = cxl_device.telemetry().generation
            cxl_device.power_cycle()
            assert cxl_device.telemetry().generation not in {before, other.telemetry().generation}
            assert other.telemetry().physical_capacity_bytes == 4 << 20
            other.kill()

        def test_mistakes_are_told(cxl_session_device):
            with pytest.raises(ValueError, match="did you mean 'exhaustion'"):
                cxl_session_device.inject("exhaustoin")
            with pytest.raises(ValueError, match="exhaustion has no 'byte' .*did you mean 'bytes'"):
                cxl_session_device.inject("exhaustion", byte=1)
            with pytest.raises(ValueError, match="latency: wall: 'soon' is not a time"):
                cxl_session_device.inject("latency", wall="soon")
            with pytest.raises(OperatorError, match="UNKNOWN_HOST") as refused:
                cxl_session_device.inject("poison", host="nobody", random=1)
            assert refused.value.__cause__ is None, "what gRPC says of it is noise in a test's report"
            with pytest.raises(AssertionError, match="did not hold within 0 s; last: DeviceTelemetry"):
                cxl_session_device.wait_for(lambda now: False, deadline_s=0)
            cxl_session_device.exhausted(0.5)  # and left so

        def test_the_next_one_finds_no_fault(cxl_session_device, cxl_session_agent):
            assert cxl_session_device.telemetry().faults == ()
            assert cxl_session_device.environment["CRAM_AGENT_DEVICE"] == cxl_session_device.address
            assert cxl_session_device.metrics().total("cxldev_attached_hosts") == 1
        """  # noqa: E501 - a user's code
    )
    result = run(suite)
    result.assert_outcomes(passed=5)


def test_failures_come_with_their_logs(suite: pytest.Pytester) -> None:
    """Of the test's own device and of the shared one; a device that cannot start says why."""
    suite.makepyfile(
        """
        import pytest

        def test_own(cxl_device):
            assert cxl_device.telemetry().stored_pages == 1

        def test_shared(cxl_session_device):
            cxl_session_device.kill()

        def test_shared_again(cxl_session_device):
            assert cxl_session_device.telemetry().stored_pages == 0

        @pytest.mark.cxl_device(physcal="1MiB")
        def test_misspelt(cxl_device):
            pass

        @pytest.mark.cxl_device(ready_file="x")
        def test_taken(cxl_device):
            pass

        @pytest.mark.cxl_device("1MiB")
        def test_no_keyword(cxl_device):
            pass

        @pytest.mark.cxl_device(physical="1MiB")
        def test_unheeded(cxl_session_device):
            pass

        @pytest.mark.cxl_agent(source="core:/nonexistent")
        def test_no_source(cxl_agent):
            pass
        """
    )
    result = run(suite)
    result.assert_outcomes(passed=2, failed=1, errors=6)
    result.stdout.fnmatch_lines(
        [
            "*the test left the shared device dead; it was started again*",
            "*No such option*physcal*--physical*",
            "*cxl_device: ready-file cannot be set: the fixture waits for it",
            "*the marker cxl_device takes keywords: @pytest.mark.cxl_device(physical=*",
            "*marker cxl_device changes nothing: cxl_session_device is started once*",
            "*/nonexistent*",
            "*assert 0 == 1*",
            "*cxldevd log, *cxldevd.log*",
            "*cxldevd: hosts 127.0.0.1:*",
        ],
        consecutive=False,
    )


def test_a_suite_that_does_not_use_it_does_not_pay(suite: pytest.Pytester) -> None:
    """Neither grpc, numpy nor the rest of cramulator is imported."""
    suite.makepyfile(
        """
        import sys

        def test_nothing_heavy():
            heavy = {"grpc", "numpy", "google.protobuf", "prometheus_client", "click", "cxldev", "cramctl"}
            assert not heavy & set(sys.modules)
        """
    )
    run(suite).assert_outcomes(passed=1)
