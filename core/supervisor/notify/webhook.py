"""Posts a message to a webhook: over verified TLS, never redirected to another host.

The environment's proxy is used only if the settings allow it, and never for this machine or its network: http_proxy
would get a message to localhost in clear text. No error here repeats the address, which is a secret.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from finetop.core.runtime.webhook_url import is_fine

SHOWN = 200  # characters shown of a refusal


class SameHost(urllib.request.HTTPRedirectHandler):
    """Follows redirects only to the same scheme and host, and posts there again."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request:
        if urlsplit(newurl)[:2] != urlsplit(req.full_url)[:2] or not is_fine(newurl):
            raise urllib.error.HTTPError(req.full_url, code, "it redirects to another host", headers, fp)
        return urllib.request.Request(newurl, data=req.data, headers=dict(req.header_items()), method="POST")


def is_near(host: str) -> bool:
    """Return True if a host is this machine or in a private network, by its address or any that its name resolves to.

    That includes link-local and unique local IPv6 addresses; a name that can't be resolved is not near.
    """
    if host.rstrip(".") == "localhost" or host.rstrip(".").endswith(".localhost"):
        return True
    try:
        resolved = {str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return False
    addresses = [ipaddress.ip_address(text) for text in resolved]
    return any(not (getattr(address, "ipv4_mapped", None) or address).is_global for address in addresses)


def post(address: str, body: str, limit_s: float, *, proxy: bool = False) -> str:
    """Post JSON. Return '' if it was accepted, else an error; the caller must end it after `limit_s` in all.

    With `proxy` it goes through the environment's proxy, unless the host is near.
    """
    host = urlsplit(address).hostname or "?"
    headers = {"Content-Type": "application/json", "User-Agent": "finetop"}
    request = urllib.request.Request(address, data=body.encode(), headers=headers, method="POST")
    verified = urllib.request.HTTPSHandler(context=ssl.create_default_context())
    proxies = urllib.request.ProxyHandler(None if proxy and not is_near(host) else {})
    opener = urllib.request.build_opener(SameHost, verified, proxies)
    try:
        with opener.open(request, timeout=limit_s) as answer:
            answer.read(1)
    except urllib.error.HTTPError as error:
        return f"{host} answered {error.code} {error.reason}{_shown(error)}"
    except urllib.error.URLError as error:
        return f"{host}: {_reason(error.reason)}"
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"{host}: {_reason(error)}"
    return ""


def _shown(error: urllib.error.HTTPError) -> str:
    """Return the start of a refusal: one read of what has arrived."""
    try:
        text = error.read1(SHOWN * 4).decode("utf-8", "replace") if hasattr(error, "read1") else ""
    except (OSError, http.client.HTTPException, ValueError):
        return ""
    return f": {text[:SHOWN]}" if text.strip() else ""


def _reason(error: object) -> str:
    """Describe a network error without text that may repeat the address."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "timed out" if isinstance(error, TimeoutError) else type(error).__name__
