"""What holds for every answer: who may have it, what a browser may do with it, and one line in the log."""

from __future__ import annotations

import logging
import re
import traceback
from time import monotonic
from urllib.parse import quote

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingest._core.logs import event
from ingest.serve.access import COOKIE, Access

LOGIN = "/login"
BROKEN = "This cannot be answered: a fault of the program. Its log says where.\n"
log = logging.getLogger("ingest.serve")
# Whoever types a ref into an address finds nothing; it is not written down either.
_NO_ID = re.compile(r"^/participant/(?!p[0-9a-f]{20}(?:/|$))[^/]*")
# A page's own policy, which stands in it, allows its scripts and styles by their hashes; this is what holds beside it.
HEADERS = {
    "Content-Security-Policy": "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Headers:
    """Puts HEADERS on every answer, and logs it: method, path without its query, status, milliseconds.

    What nobody foresaw is answered with 500 and logged by its kind and place.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, started = monotonic(), False

        async def answer(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message).update(HEADERS)
                took, path = round((monotonic() - begun) * 1000), _NO_ID.sub("/participant/-", scope["path"])
                event("request", method=scope["method"], path=path, status=message["status"], ms=took)
            await send(message)

        try:
            await self.app(scope, receive, answer)
        except Exception as error:  # noqa: BLE001 - told without its text, which may quote what the warehouse holds
            where = traceback.extract_tb(error.__traceback__)[-1]
            log.error("%s at %s:%s", type(error).__name__, where.filename, where.lineno)
            if not started:
                await PlainTextResponse(BROKEN, 500)(scope, receive, answer)


class Gate:
    """Lets through who may look; sends browsers to the login, and tells others how to show the token."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app = app
        self.access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == LOGIN:
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        if self.access.allows(request.headers.get("authorization"), request.cookies.get(COOKIE)):
            await self.app(scope, receive, send)
            return
        await _turned_away(request)(scope, receive, send)


def _turned_away(request: Request) -> Response:
    if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
        return RedirectResponse(f"{LOGIN}?next={quote(request.url.path)}", 303)
    words = "expected the token of this server in the header `Authorization: Bearer ...`\n"
    return PlainTextResponse(words, 401, {"WWW-Authenticate": "Bearer"})
