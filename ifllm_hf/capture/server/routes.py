"""What a browser may post: four routes under `api/v1/`.

The token stands in the body, because `sendBeacon` sends no headers. Every refusal is an answer of
ours, `{"ok": false, "error": CODE, "retry": ...}`, and is counted by its code. A browser drops a
batch for `gone` alone: the session was withdrawn. An event that does not fit is left out of its
batch; the answer and the stored line say how many were, and why. Addresses are neither logged nor
stored. What a page asks step by step (`steps`) is answered as `taking_part` words it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from ifllm_hf.capture.same_page import foreign_origin
from ifllm_hf.capture.server import refusals
from ifllm_hf.capture.server.checks import check, parse, sift
from ifllm_hf.capture.server.limits import AddressHash, RateLimit
from ifllm_hf.capture.server.refusals import Refusal
from ifllm_hf.capture.server.store import SessionStore
from ifllm_hf.data.sessions.event_schema import PAGES, version_of

BODY_BYTES_MAX = 256 * 1024
REQUESTS_PER_ADDRESS_AND_MINUTE = 1200  # a classroom behind one address

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
Steps = Callable[[Any], dict[str, Any]]
"""Answers one step of taking part; never raises."""


def make_router(store: SessionStore, steps: Steps, prefix: str = "") -> APIRouter:
    """Return the routes of a store.

    Args:
        store: Where sessions are kept.
        steps: What answers the steps of taking part.
        prefix: Of their paths: empty, or as `/ifllm`.
    """
    router = APIRouter(prefix=f"{prefix}/api/v1")
    settings = store.settings
    uploads = RateLimit(settings.uploads_per_minute)
    by_address = RateLimit(REQUESTS_PER_ADDRESS_AND_MINUTE)
    hashing = None if settings.trusted_proxies is None else AddressHash(settings.trusted_proxies)

    async def answer(request: Request, handler: Handler) -> JSONResponse:
        try:
            if seen := foreign_origin(request.headers, settings.root_path, settings.origins):
                raise refusals.cross_site(seen)
            if hashing:
                peer = request.client.host if request.client else ""
                key = hashing.key(peer, request.headers.get("x-forwarded-for", ""))
                if wait_s := by_address.take(key):
                    raise refusals.too_many("requests", wait_s)
            return JSONResponse({"ok": True, **await handler(parse(await _body(request)))})
        except Refusal as refusal:
            store.watch.refused(refusal.error, str(refusal))
            return _refused(refusal)

    def must_own(body: dict[str, Any]) -> str:
        session_id, token = body.get("session"), body.get("token")
        if not (isinstance(session_id, str) and isinstance(token, str)):
            raise refusals.malformed("session and token are missing. Expected both as text.")
        if not store.check_token(session_id, token):
            raise refusals.foreign_token()
        if wait_s := uploads.take(session_id):
            raise refusals.too_many("uploads", wait_s)
        return session_id

    async def store_batch(body: dict[str, Any]) -> dict[str, Any]:
        session_id = must_own(body)
        events, left_out = sift(body)
        names = ("tab", "seq", "origin_epoch_ms", "sent_epoch_ms")
        batch = {"type": "batch", **{name: body[name] for name in names}}
        batch |= {"v": PAGES} if version_of(body) == PAGES else {}
        batch |= {"received_epoch_ms": store.now_ms(), "events": events}
        refused = {"refused": dict(left_out)} if left_out else {}
        stored = await asyncio.wrap_future(store.submit(session_id, batch | refused))
        store.watch.stored(duplicate=stored.duplicate, events_refused=left_out)
        return {
            "tab": body["tab"],
            "seq": body["seq"],
            "duplicate": stored.duplicate,
            "durable": stored.durable,
            **refused,
        }

    async def say_durable(body: dict[str, Any]) -> dict[str, Any]:
        session_id = must_own(body)
        check(body, "durable_request")
        asked = (session_id, body["tab"], body["seqs"])
        durable, missing = await run_in_threadpool(store.durable, *asked)
        return {"durable": durable, "missing": missing}

    async def take_out(body: dict[str, Any]) -> dict[str, Any]:
        check(body, "withdraw_request")
        receipt = await run_in_threadpool(store.withdraw, body["code"])
        return {"complete": receipt.complete}

    async def take_step(body: dict[str, Any]) -> dict[str, Any]:
        if "session" in body:
            must_own(body)
        return await run_in_threadpool(steps, body)

    @router.post("/events")
    async def events(request: Request) -> JSONResponse:
        return await answer(request, store_batch)

    @router.post("/durable")
    async def durable(request: Request) -> JSONResponse:
        return await answer(request, say_durable)

    @router.post("/withdraw")
    async def withdraw(request: Request) -> JSONResponse:
        return await answer(request, take_out)

    @router.post("/steps")
    async def step(request: Request) -> JSONResponse:
        return await answer(request, take_step)

    return router


async def _body(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > BODY_BYTES_MAX:
            raise refusals.too_large(size, BODY_BYTES_MAX)
        parts.append(part)
    return b"".join(parts)


def _refused(refusal: Refusal) -> JSONResponse:
    said = {"ok": False, "error": refusal.error, "retry": refusal.retry}
    headers = {}
    if refusal.retry_after_s is not None:
        headers["Retry-After"] = str(math.ceil(refusal.retry_after_s))
    return JSONResponse(said, refusal.status, headers)
