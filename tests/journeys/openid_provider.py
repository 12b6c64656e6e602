"""A small OpenID provider on loopback: discovery, authorization with PKCE, signed ID tokens, its keys, logout.

It asks for no password: whoever is clicked on is logged in.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import html
import json
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey


class OpenIdProvider:
    """Knows some people and one client.

    Args:
        people: their claims, by what the link on the login page says.
        client_id: of the only client.
        client_secret: of that.
    """

    def __init__(self, people: Mapping[str, Mapping[str, Any]], client_id: str, client_secret: str) -> None:
        self.people, self.client_id, self.client_secret = people, client_id, client_secret
        self.key = RSAKey.generate_key(2048, {"kid": "the-only-one", "use": "sig"}, private=True)
        self.address = ""
        self.asked: dict[str, dict[str, str]] = {}
        """Code -> what the authorization was asked with, and whom it is for."""

    @property
    def discovery_address(self) -> str:
        """Where a client reads everything else."""
        return f"{self.address}/.well-known/openid-configuration"

    def discovery(self) -> dict[str, Any]:
        """Return what the provider says of itself."""
        return {
            "issuer": self.address,
            "authorization_endpoint": f"{self.address}/authorize",
            "token_endpoint": f"{self.address}/token",
            "jwks_uri": f"{self.address}/jwks",
            "end_session_endpoint": f"{self.address}/log-out",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
        }

    def login_page(self, query: dict[str, str]) -> str:
        """Return a page with a link for each person; raises ValueError where another client asks."""
        if query["client_id"] != self.client_id or query["response_type"] != "code":
            raise ValueError("unknown client")
        links = []
        for person in self.people:
            code = secrets.token_urlsafe(16)
            self.asked[code] = {**query, "person": person}
            address = f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"
            links.append(f'<p><a href="{html.escape(address)}">{html.escape(person)}</a></p>')
        return f"<h1>Who are you?</h1>{''.join(links)}"

    def tokens(self, form: dict[str, str], authorization: str) -> dict[str, Any]:
        """Return the tokens for a code; raises ValueError where client, code, address or PKCE's verifier are wrong."""
        expected = base64.b64encode(f"{self.client_id}:{self.client_secret}".encode()).decode()
        asked = self.asked.pop(form["code"])
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=")
        if authorization != f"Basic {expected}" or form["redirect_uri"] != asked["redirect_uri"]:
            raise ValueError("another client")
        if challenge.decode() != asked["code_challenge"] or asked["code_challenge_method"] != "S256":
            raise ValueError("another browser")
        now = int(time.time())
        claims = {
            "iss": self.address,
            "aud": self.client_id,
            "sub": asked["person"],
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
            **self.people[asked["person"]],
        }
        id_token = jwt.encode({"alg": "RS256", "kid": "the-only-one"}, claims, self.key)
        return {
            "access_token": secrets.token_urlsafe(16),
            "token_type": "Bearer",
            "expires_in": 300,
            "id_token": id_token,
        }


@contextlib.contextmanager
def running_provider(provider: OpenIdProvider) -> Iterator[OpenIdProvider]:
    """Serve a provider on a free loopback port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            if parts.path == "/.well-known/openid-configuration":
                self._answer(json.dumps(provider.discovery()), "application/json")
            elif parts.path == "/jwks":
                self._answer(json.dumps({"keys": [provider.key.as_dict(private=False)]}), "application/json")
            elif parts.path == "/authorize":
                self._answer(provider.login_page(query), "text/html")
            elif parts.path == "/log-out":
                self.send_response(302)
                self.send_header("Location", query["post_logout_redirect_uri"])
                self.end_headers()
            else:
                self.send_error(404)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            try:
                self._answer(json.dumps(provider.tokens(form, self.headers["Authorization"])), "application/json")
            except (KeyError, ValueError) as error:
                self.send_error(400, str(error))

        def _answer(self, text: str, kind: str) -> None:
            content = text.encode()
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
