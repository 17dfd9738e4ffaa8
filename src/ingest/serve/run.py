"""The server's process: where it listens, and under which names it may be reached."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from ingest._core.errors import WrongUse

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_MOST_AT_ONCE = 64
_GRACE_S = 5


@dataclass(frozen=True)
class Listening:
    """`names` are what browsers may call this server (the Host header); with a certificate it speaks TLS."""

    host: str = "127.0.0.1"
    port: int = 8321
    names: Sequence[str] = ()
    certificate: Path | None = None
    key: Path | None = None

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def hosts(self) -> list[str]:
        """Every name that is answered. Another one is a web page's that had its own name lead here."""
        own = f"[{self.host}]" if ":" in self.host else self.host
        return sorted({*LOOPBACK, *({own} if own not in ("0.0.0.0", "[::]") else set()), *self.names})  # noqa: S104 - not bound to


def serve(root: Path, token: str | None, refs: bool, at: Listening, say: Callable[[str], None]) -> None:
    """Serve the pages of the study in `root` until SIGINT or SIGTERM; `say` is told the address once it listens.

    Raises WrongUse without a token for an address that others reach, for a certificate or an address that cannot be
    used, and where the packages of the extra `serve` are missing.
    """
    if not at.is_loopback and token is None:
        raise WrongUse(
            f"others reach {at.host}: they must show a token. Give --token-file FILE, which is made if it is not there"
        )
    if (at.certificate is None) != (at.key is None):
        raise WrongUse("--certificate and --key go together")
    try:
        import uvicorn

        from ingest.serve.app import make_app
    except ModuleNotFoundError as error:
        raise WrongUse(f"{error.name} is not installed; pip install 'sleep-ingest[serve]'") from None
    app = make_app(root, token, refs=refs, hosts=at.hosts, secure=at.certificate is not None)
    with _listen(at) as listener:
        config = uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, proxy_headers=False, lifespan="off", ws="none",
            limit_concurrency=_MOST_AT_ONCE, timeout_graceful_shutdown=_GRACE_S,
            ssl_certfile=at.certificate, ssl_keyfile=at.key,
        )  # fmt: skip
        try:
            config.load()
        except (OSError, ValueError) as error:
            raise WrongUse(f"--certificate, --key: cannot be used: {error}") from None
        say(_said(at, listener.getsockname()[1], token))
        try:
            uvicorn.Server(config).run(sockets=[listener])
        except KeyboardInterrupt:
            return


def _listen(at: Listening) -> socket.socket:
    try:
        family = socket.getaddrinfo(at.host, at.port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((at.host, at.port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        raise WrongUse(f"cannot listen on {at.host}, port {at.port}: {error}; --port takes another") from None


def _said(at: Listening, port: int, token: str | None) -> str:
    scheme = "http" if at.certificate is None else "https"
    host = f"[{at.host}]" if ":" in at.host else at.host
    asked = "the token is asked for" if token else "no token is asked for"
    risk = "" if at.is_loopback or at.certificate else "; without TLS, whoever listens on the way reads all of it"
    return f"Pages on {scheme}://{host}:{port}/ ({asked}{risk}). Ctrl-C ends it."
