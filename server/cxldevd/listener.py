"""One gRPC listener: its services, the standard health service, and reflection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from cxldevd.addresses import Address
from cxldevd.identity.keyring import server_credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cxldevd.calls import Service
    from cxldevd.identity.tls import ServerTls
    from cxldevd.pools import CountedPool

_REFLECTION_V1: Final = "grpc.reflection.v1.ServerReflection"
"""The same messages as v1alpha's, under the name that newer clients ask for first."""
_LAST_BYTES_S: Final = 0.5
"""How long answers that are ready may take to leave, s; also what an open health watch can delay the end."""


class BindError(Exception):
    """An address cannot be listened on. One line."""


class _Reflection:
    """Reflection on threads of its own: a client that keeps its stream open takes one for as long."""

    def __init__(self, names: Sequence[str], pool: CountedPool) -> None:
        self._servicer: Any = reflection.ReflectionServicer(names)
        self.experimental_thread_pool = pool

    def __call__(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        answers: Iterator[Any] = self._servicer.ServerReflectionInfo(requests, context)
        return answers


class Listener:
    """A gRPC server on one address."""

    def __init__(
        self,
        address: Address,
        services: Sequence[Service],
        health_pool: CountedPool,
        reflecting: CountedPool,
        tls: ServerTls | None = None,
        *,
        options: Sequence[tuple[str, int]],
    ) -> None:
        """The services have threads of their own; `health_pool` is for health checks alone."""
        self._wanted = address
        self._tls = tls
        self.address = ""
        names = [service.name for service in services]
        self._server = grpc.server(health_pool, options=options)
        self._server.add_generic_rpc_handlers(tuple(services))
        self._health = health.HealthServicer()
        for name in names:
            self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        handler = grpc.stream_stream_rpc_method_handler(
            _Reflection((*names, health.SERVICE_NAME, reflection.SERVICE_NAME, _REFLECTION_V1), reflecting),
            reflection_pb2.ServerReflectionRequest.FromString,
            reflection_pb2.ServerReflectionResponse.SerializeToString,
        )
        self._server.add_generic_rpc_handlers(
            tuple(
                grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": handler})
                for name in (reflection.SERVICE_NAME, _REFLECTION_V1)
            )
        )

    def bind(self) -> None:
        """Take the address; calls are not answered yet.

        Raises:
            BindError: it cannot be had.
        """
        wanted = self._wanted
        try:
            wanted.check_free()
            if self._tls is None:
                port = self._server.add_insecure_port(str(wanted))
            else:
                port = self._server.add_secure_port(str(wanted), server_credentials(self._tls))
        except OSError as error:
            raise BindError(f"cannot listen on {wanted}: {error.strerror or error}") from None
        except RuntimeError as error:
            # The address was taken since it was looked at.
            raise BindError(f"cannot listen on {wanted}: {error}") from None
        self.address = str(wanted if wanted.path else Address(wanted.host, port))

    def start(self) -> None:
        """Answer calls."""
        self._server.start()

    def not_serving(self) -> None:
        """Let health checks say so, from now on."""
        self._health.enter_graceful_shutdown()

    def stop(self, wait_idle: Callable[[float], None] | None = None, grace_s: float = 0.0) -> None:
        """Take no new calls; let those that run go on until `wait_idle` returns; cancel what is left."""
        if wait_idle is not None:
            stopped = self._server.stop(grace_s + _LAST_BYTES_S)
            wait_idle(grace_s)
            stopped.wait(_LAST_BYTES_S)
        self._server.stop(None).wait()
        if self.address:
            self._wanted.remove_socket()
