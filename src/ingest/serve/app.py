"""The ASGI application: pages, pickers and CSV of one study. It reads the warehouse and writes nothing but the
audit."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from ingest._core import clock
from ingest._core.errors import IngestError, WrongUse
from ingest._core.study import Study
from ingest.harmonise.identity import people
from ingest.publish.audit import acting, enter
from ingest.publish.reading import Reader
from ingest.report.pages.cohort import cohort_page
from ingest.report.pages.intake import intake_page
from ingest.report.pages.page import Page
from ingest.report.pages.participant import participant_page
from ingest.report.spreadsheet import as_csv
from ingest.serve import pages
from ingest.serve.access import COOKIE, SESSION_S, Access
from ingest.serve.middleware import Gate, Headers
from ingest.serve.pages import Bar, Span
from ingest.serve.reading import NotReadable, Source, span_of

_FORM_BYTES = 4096
_NO_SPAN: Span = (None, None)
Maker = Callable[[Study, Reader, Span, str], Page]
_MAKERS: dict[str, Maker] = {
    "cohort": lambda study, reader, span, _: cohort_page(study, reader, *span),
    "intake": lambda study, reader, span, _: intake_page(study, reader, clock.now().date(), *span),
    "participant": lambda study, reader, span, who: participant_page(study, reader, who, *span),
}


def make_app(
    root: Path,
    token: str | None = None,
    refs: bool = False,
    hosts: Sequence[str] = ("localhost",),
    secure: bool = False,
) -> ASGIApp:
    """The application for the study in `root`.

    `token` is asked for where there is one. With `refs` a participant is found by ref, too, so that whoever may look
    can tell whose pseudonym is whose. `hosts` are the names it answers to; `secure`: browsers reach it by TLS.
    """
    served = _Served(Source(root), Access(token), refs, secure)
    routes = [
        Route("/", served.home),
        Route("/participants", served.participants, methods=["GET", "POST"]),
        *(Route(path, served.page, name=name) for name, path in _PATHS.items()),
        *(Route(f"{path}/{{table}}.csv", served.csv, name=f"{name}_csv") for name, path in _PATHS.items()),
        Route("/login", served.login, methods=["GET", "POST"]),
        Route("/logout", served.logout, methods=["POST"]),
        Route("/favicon.ico", served.nothing),
    ]
    middleware = [
        Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False),
        Middleware(Gate, access=served.access),
    ]
    handlers: Any = {HTTPException: served.refused, IngestError: served.failed}
    return Headers(Starlette(routes=routes, middleware=middleware, exception_handlers=handlers))


_PATHS = {"cohort": "/cohort", "intake": "/intake", "participant": "/participant/{who}"}


class _Served:
    """What each address answers."""

    def __init__(self, source: Source, access: Access, refs: bool, secure: bool) -> None:
        self.access = access
        self._source = source
        self._refs = refs
        self._secure = secure
        self._bar = Bar(logout=not access.is_open, refs=refs)

    async def home(self, request: Request) -> Response:
        """Numbers and links."""
        page = await run_in_threadpool(self._source.read, pages.home)
        return self._html(page, search="")

    async def participants(self, request: Request) -> Response:
        """The list, all of it or what was searched for; who is meant alone is shown at once.

        What was typed comes in the body: a ref must not stand in an address.
        """
        search = (await _form(request)).get("search", "").strip() if request.method == "POST" else ""
        found = await run_in_threadpool(self._source.read, lambda study, _: self._meant(study, search))
        if found is not None:
            return RedirectResponse(f"/participant/{found}", 303)
        page = await run_in_threadpool(
            self._source.read, lambda study, reader: pages.participants(study, reader, search)
        )
        return self._html(page, search=search)

    def _meant(self, study: Study, search: str) -> str | None:
        known = people(study).get(search) if self._refs and search else None
        return known.participant_id if known else None

    async def page(self, request: Request) -> Response:
        """A page with its dates and its data to save."""
        page, span = await self._made(request)
        files = pages.files_of(page, request.url.path, span)
        return self._html(page, span=span, files=files)

    async def csv(self, request: Request) -> Response:
        """One table of a page, as it stands in the page."""
        page, _ = await self._made(request)
        name = request.path_params["table"]
        if name not in page.data:
            raise HTTPException(404)
        words = [request.scope["route"].name.removesuffix("_csv"), request.path_params.get("who", ""), name]
        saved = "-".join(filter(None, words))
        headers = {"Content-Disposition": f'attachment; filename="{saved}.csv"'}
        return Response(as_csv(page.data[name]), media_type="text/csv", headers=headers)

    async def _made(self, request: Request) -> tuple[Page, Span]:
        make = _MAKERS[request.scope["route"].name.removesuffix("_csv")]
        span = span_of(request.query_params.get("from", ""), request.query_params.get("to", ""))
        who = request.path_params.get("who", "")

        def entered(study: Study, reader: Reader) -> Page:
            page = make(study, reader, span, who)
            with acting(via="serve", purpose=os.environ.get("INGEST_PURPOSE")):
                enter(study, "serve", [who] if who else [], tables=[request.scope["route"].name])
            return page

        return await run_in_threadpool(self._source.read, entered), span

    async def login(self, request: Request) -> Response:
        """Asks for the token; whoever has it gets a session."""
        if request.method == "GET":
            return self._html(pages.login(wrong=False), login=True, next=_inside(request.query_params.get("next", "")))
        form = await _form(request)
        goes_to = _inside(form.get("next", ""))
        if not self.access.is_token(form.get("token", "")):
            return self._html(pages.login(wrong=True), 403, login=True, next=goes_to)
        answer = RedirectResponse(goes_to, 303)
        answer.set_cookie(COOKIE, self.access.begin(), max_age=SESSION_S, path="/", secure=self._secure, httponly=True,
                          samesite="lax")  # fmt: skip
        return answer

    async def logout(self, request: Request) -> Response:
        """Ends the session."""
        self.access.end(request.cookies.get(COOKIE, ""))
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(COOKIE, path="/", secure=self._secure, httponly=True, samesite="lax")
        return answer

    async def nothing(self, request: Request) -> Response:
        """There is no icon."""
        return Response(status_code=204)

    async def refused(self, request: Request, error: Exception) -> Response:
        """What was asked for is not there, or not to be had in this way."""
        status = error.status_code if isinstance(error, HTTPException) else 500
        lines = ["The links above lead to what there is."] if status == 404 else []
        words = {404: "There is no such page.", 405: "This address takes no such request."}
        return self._html(pages.told(words.get(status, "This cannot be answered."), lines), status)

    async def failed(self, request: Request, error: Exception) -> Response:
        """The warehouse could not be read, or what was asked for is wrong; the text says what to do."""
        status = 400 if isinstance(error, WrongUse) and not isinstance(error, NotReadable) else 503
        headers = {"Retry-After": "5"} if status == 503 else None
        return self._html(pages.told("This cannot be shown.", [str(error)]), status, headers)

    def _html(self, page: Page, status: int = 200, headers: dict[str, str] | None = None, **parts: Any) -> Response:
        return HTMLResponse(self._bar.shown(page, **parts), status, headers)


def _inside(address: str) -> str:
    """A path of this server, `/` for anything that leads elsewhere."""
    is_ours = address.startswith("/") and not address.startswith("//") and "\\" not in address and address.isprintable()
    return address if is_ours else "/"


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form that a browser sent; raises HTTPException for what is longer than any of ours."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _FORM_BYTES:
            raise HTTPException(413)
    fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=8)
    return {name: values[0] for name, values in fields.items()}
