"""The stack that the report's app runs on, with the same answer, headers, limit and log line: what ours is measured beside."""

import json
import logging
import secrets
import sys
import time
import uuid

from fastapi import FastAPI, Request
from slowapi import Limiter, _rate_limit_exceeded_handler
from slowapi.errors import RateLimitExceeded
from slowapi.util import get_remote_address
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import JSONResponse, Response

logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
log = logging.getLogger("access")

HEADERS = {
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains; preload",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "X-XSS-Protection": "1; mode=block",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Permissions-Policy": "geolocation=(), microphone=(), camera=(), payment=(), usb=(), magnetometer=()",
    "Server": "Unknown",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "X-Permitted-Cross-Domain-Policies": "none",
    "Cache-Control": "no-store",
}

limiter = Limiter(key_func=get_remote_address, headers_enabled=True)
app = FastAPI()
app.state.limiter = limiter
app.add_exception_handler(RateLimitExceeded, _rate_limit_exceeded_handler)


class SecurityHeaders(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next) -> Response:
        response = await call_next(request)
        nonce = secrets.token_urlsafe(16)
        response.headers.update(HEADERS)
        response.headers["Content-Security-Policy"] = (
            f"default-src 'none'; script-src 'nonce-{nonce}' 'strict-dynamic'; style-src 'nonce-{nonce}'; "
            "img-src 'self'; font-src 'self'; connect-src 'self'; object-src 'none'; base-uri 'none'; "
            "form-action 'none'; frame-ancestors 'none'; upgrade-insecure-requests"
        )
        return response


class RequestLog(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next) -> Response:
        begin = time.perf_counter()
        request_id = request.headers.get("x-request-id") or uuid.uuid4().hex
        response = await call_next(request)
        response.headers["X-Request-Id"] = request_id
        line = {
            "request_id": request_id,
            "client": request.client.host,
            "method": request.method,
            "path": request.url.path,
            "status": response.status_code,
            "duration_us": int((time.perf_counter() - begin) * 1e6),
        }
        log.info(json.dumps(line))
        return response


app.add_middleware(SecurityHeaders)
app.add_middleware(RequestLog)


@app.get("/")
@limiter.limit("4000000000/minute")
async def about(request: Request, response: Response) -> dict:
    return {"name": "api-server", "version": "0.1.0", "environment": "production"}
