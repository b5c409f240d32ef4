"""Whether a request comes from our own page.

What keeps strangers out is the token, or the withdrawal code, in the body of every request: no
cookie is read, so another site's page can do nothing in a visitor's name. What is refused here in
addition is what a browser itself calls foreign, or what is plainly from another host.

A browser says so in Sec-Fetch-Site, but not over plain HTTP, and proxies rewrite Host. So names
are compared and not texts: without their port, which `Host $host` loses, in one case and form, and
with the names that a proxy passes on. A Host that only a proxy can have written tells nothing.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from ifllm_hf.errors import ConfigError

_PORTS = {"http": 80, "https": 443}
_FORWARDED_HOST = re.compile(r'host\s*=\s*"?([^";,\s]+)', re.IGNORECASE)


def foreign_origin(
    headers: Mapping[str, str], root_path: str = "", origins: Collection[str] = ()
) -> str | None:
    """Return what makes a request another site's; None if it may be our own page's.

    Args:
        headers: Of the request, with names in lower case.
        root_path: As the operator set it; a whole address names our host.
        origins: Of pages on other hosts that the operator named, as `origin_of` returns them.
    """
    if headers.get("origin") in origins:
        return None
    site = headers.get("sec-fetch-site")
    if site is not None:
        return None if site == "same-origin" else f"a page that is {site[:20]} to the browser"
    origin = headers.get("origin")
    if origin is None:  # no browser, or an old one
        return None
    named = [root_path] if "://" in root_path else []
    ours = {host_name(name) for name in [*_passed_on(headers), *named]}
    host = host_name(headers.get("host", ""))
    if not ours and _is_internal(host):
        return None
    sender = host_name(origin)
    if sender and sender in ours | {host}:
        return None
    return f"a page of {sender or 'no host'} while this is {host or 'no host'}"


def origin_of(text: str) -> str:
    """Return an origin that an operator names, as a browser writes it in its header.

    >>> origin_of("HTTPS://Chat.Example.org:443")
    'https://chat.example.org'

    Raises:
        ConfigError: It is `*`, has a path, or is no origin at all.
    """
    if text.strip() == "*":
        raise ConfigError(
            "'*' would let every page of the web send here. Expected the origin of each page that "
            "may, such as https://chat.example.org."
        )
    wrong = ConfigError(
        f"{text!r} is no origin of a page. Expected http(s)://, a host and a port where it is not "
        "the usual one, and nothing behind it, such as https://chat.example.org."
    )
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError:
        raise wrong from None
    scheme, host = parts.scheme, host_name(text.strip())
    rest = parts.path or parts.query or parts.fragment or "@" in parts.netloc
    if scheme not in _PORTS or not re.fullmatch(r"[0-9a-z._:-]+", host) or rest:
        raise wrong
    name = f"[{host}]" if ":" in host else host
    return f"{scheme}://{name}" + (f":{port}" if port and port != _PORTS[scheme] else "")


def host_name(text: str) -> str:
    """Return the name in an origin, or in a Host header, in the one form in which it is compared.

    >>> host_name("HTTP://Space.Example.:8080"), host_name("[0:0::1]:80")
    ('space.example', '::1')
    """
    try:
        name = urlsplit(text if "//" in text else f"//{text}").hostname or ""
    except ValueError:
        return ""
    name = name.rstrip(".")
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return name.encode("idna").decode()
    except UnicodeError:
        return name


def _passed_on(headers: Mapping[str, str]) -> list[str]:
    names = headers.get("x-forwarded-host", "").split(",")
    names += _FORWARDED_HOST.findall(headers.get("forwarded", ""))
    return [name.strip() for name in names if name.strip()]


def _is_internal(host: str) -> bool:
    """Tell whether no visitor from elsewhere can have typed this: the proxy's name for us."""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".localhost"))
