"""A server with the part of Grafana's HTTP API that pushing dashboards uses, as its documentation
has it (developers/http_api: dashboard, folder, other), on a thread of its own.

It is strict: what the documentation doesn't allow is a 400 or a note in ``wrong``.
"""

import contextlib
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "glsa_right"
VIEWER = "glsa_viewer"

Answer = tuple[int, Any]


class FakeGrafana:
    """``broken``: paths (or METHOD and path) that answer with this instead. ``prefix``: the path it
    is served under."""

    def __init__(self, prefix: str = "", version: str = "12.1.0") -> None:
        self.prefix = prefix
        self.version = version
        self.folders: dict[str, dict[str, Any]] = {}
        self.hidden: set[str] = set()  # folders that this token doesn't see
        self.dashboards: dict[str, dict[str, Any]] = {}
        self.folder_of: dict[str, str] = {}
        self.messages: list[str] = []
        self.provisioned: set[str] = set()
        self.broken: dict[str, Answer] = {}
        self.requests: list[str] = []
        self.wrong: list[str] = []
        self.url = ""

    # -- what is asked for

    def answer(self, method: str, target: str, headers: Any, raw: bytes) -> Answer:
        parts = urlsplit(target)
        if not parts.path.startswith(f"{self.prefix}/api/"):
            return 404, {"message": "Not found"}
        path = parts.path.removeprefix(self.prefix)
        self.requests.append(f"{method} {path}")
        found = self.broken.get(f"{method} {path}") or self.broken.get(path)
        if found is not None:
            return found
        if path == "/api/health":
            return 200, {"database": "ok", "version": self.version, "commit": "0"}
        login = headers.get("Authorization", "")
        if login not in (f"Bearer {TOKEN}", f"Bearer {VIEWER}"):
            return 401, {"message": "Invalid API key"}
        body = None
        if method == "POST":
            if login == f"Bearer {VIEWER}":
                return 403, {
                    "message": "You'll need additional permissions to perform this action."
                }
            if headers.get("Content-Type") != "application/json":
                self.wrong.append(f"Content-Type of {path}: {headers.get('Content-Type')}")
            try:
                body = json.loads(raw)
            except ValueError:
                return 400, {"message": "bad request data"}
        if path == "/api/folders":
            return self._make_folder(body) if method == "POST" else self._folders(parts.query)
        if path == "/api/dashboards/db" and method == "POST":
            return self._save(body)
        if path.startswith("/api/dashboards/uid/") and method == "GET":
            return self._dashboard(path.rpartition("/")[2])
        return 404, {"message": "Not found"}

    def _folders(self, query: str) -> Answer:
        asked = {key: int(values[0]) for key, values in parse_qs(query).items()}
        limit, page = asked.get("limit", 1000), asked.get("page", 1)
        assert 1 <= limit <= 1000
        seen = [folder for uid, folder in self.folders.items() if uid not in self.hidden]
        return 200, seen[(page - 1) * limit : page * limit]

    def _make_folder(self, body: Any) -> Answer:
        uid, title = body.get("uid"), body.get("title")
        if not title or len(uid or "") > 40:
            return 400, {"message": "folder title cannot be empty"}
        if uid in self.folders or any(one["title"] == title for one in self.folders.values()):
            return 409, {"message": "a folder with that name already exists"}
        self.folders[uid] = {"id": len(self.folders) + 1, "uid": uid, "title": title}
        return 200, self.folders[uid] | {"url": f"{self.prefix}/dashboards/f/{uid}/x", "version": 1}

    def _dashboard(self, uid: str) -> Answer:
        if uid not in self.dashboards:
            return 404, {"message": "Dashboard not found"}
        meta = {
            "url": f"{self.prefix}/d/{uid}/x",
            "folderUid": self.folder_of[uid],
            "provisioned": uid in self.provisioned,
            "slug": "x",
        }
        return 200, {"dashboard": self.dashboards[uid], "meta": meta}

    def _save(self, body: Any) -> Answer:
        unknown = body.keys() - {"dashboard", "folderId", "folderUid", "message", "overwrite"}
        if unknown:
            self.wrong.append(f"unknown fields {unknown}")
        wanted = body["dashboard"]
        uid = wanted.get("uid")
        if not wanted.get("title") or len(uid) > 40:
            return 400, {"message": "Dashboard title cannot be empty", "status": "empty-name"}
        if wanted.get("id") is not None:
            return 404, {"message": "Dashboard not found", "status": "not-found"}
        if body["folderUid"] not in self.folders:
            return 400, {"message": "folder not found"}
        if uid in self.provisioned:
            return 400, {"message": "Cannot save provisioned dashboard"}
        before = self.dashboards.get(uid)
        if before is not None and not body.get("overwrite"):
            if wanted.get("version") is None:
                why = "A dashboard with the same uid already exists"
                return 412, {"message": why, "status": "name-exists"}
            if wanted["version"] != before["version"]:
                why = "The dashboard has been changed by someone else"
                return 412, {"message": why, "status": "version-mismatch"}
        version = before["version"] + 1 if before is not None else 1
        self.dashboards[uid] = wanted | {"id": 7, "version": version}
        self.folder_of[uid] = body["folderUid"]
        self.messages.append(body.get("message", ""))
        url = f"{self.prefix}/d/{uid}/x"
        return 200, {"id": 7, "uid": uid, "url": url, "status": "success", "version": version}


@contextlib.contextmanager
def serving(
    prefix: str = "", *, version: str = "12.1.0", context: ssl.SSLContext | None = None
) -> Iterator[FakeGrafana]:
    """Listens on loopback until the end."""
    grafana = FakeGrafana(prefix, version)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._any("GET")

        def do_POST(self) -> None:
            self._any("POST")

        def _any(self, method: str) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, body = grafana.answer(method, self.path, self.headers, raw)
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.send_header("Content-Type", "application/json; charset=UTF-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:  # a client that doesn't trust the certificate
            pass

    server = Server(("127.0.0.1", 0), Handler)
    scheme = "http"
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    grafana.url = f"{scheme}://127.0.0.1:{server.server_address[1]}{prefix}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield grafana
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
