"""A small server that speaks the HTTP of the Hugging Face Hub: repositories of models, git LFS, no Xet.

Endpoints: whoami-v2, repos/create, models/ID, revision, tree, branch, preupload, validate-yaml, commit, LFS batch, PUT
and verify, resolve. Writing needs the token ``hf_writer``; ``org/gated`` is gated.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_writer"
GATED = "org/gated"
Files = dict[str, bytes]


@dataclass
class Hub:
    """What the server has, and what it was asked."""

    repos: dict[str, dict[str, Files]] = field(default_factory=dict)  # id -> branch -> files
    lfs: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    private: set[str] = field(default_factory=set)
    broken: bool = False  # answers 503 to everything
    address: str = ""

    def commit(self, files: Files) -> str:
        """Return the commit of files: forty hexadecimal digits."""
        return hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()

    def find(self, repo: str, revision: str) -> Files | None:
        """Return the files of a branch or commit."""
        branches = self.repos[repo]
        by_commit = {self.commit(files): files for files in branches.values()}
        return branches.get(revision, by_commit.get(revision))


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """Serve a hub on a free port of this machine."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        """Print nothing."""

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        path = self.path.partition("?")[0].replace("%2F", "/")
        self.hub.requests.append(f"{self.command} {path}")
        if self.hub.broken:
            return self._error(503, "", "down for maintenance")
        for method, pattern, answer in _ROUTES:
            match = re.fullmatch(pattern, path)
            if match and self.command in method.split():
                if (
                    self.command in ("POST", "PUT")
                    and self.headers.get("Authorization") != f"Bearer {TOKEN}"
                    and ("/lfs/" not in path)
                ):
                    return self._error(401, "", "Invalid credentials")
                return getattr(self, answer)(body, *match.groups())
        return self._error(404, "EntryNotFound", f"no endpoint {self.command} {path}")

    do_GET = do_HEAD = do_POST = do_PUT = _handle  # noqa: N815

    def _send(self, content: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _json(self, document: Any, status: int = 200) -> None:
        self._send(json.dumps(document).encode(), status, Content_Type="application/json")

    def _error(self, status: int, code: str, message: str) -> None:
        self._send(json.dumps({"error": message}).encode(), status, X_Error_Code=code, X_Error_Message=message)

    def _files(self, repo: str, revision: str) -> Files | None:
        """Return the files of a revision, or answer with the error and return None."""
        if repo == GATED:
            return self._error(403, "GatedRepo", "Access to model org/gated is restricted")
        if repo not in self.hub.repos:
            return self._error(401, "RepoNotFound", "Repository not found")
        found = self.hub.find(repo, revision or "main")
        return found if found is not None else self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")

    def whoami(self, body: bytes) -> None:
        self._json({"type": "user", "name": "tester", "orgs": [{"name": "org"}]})

    def create(self, body: bytes) -> None:
        asked = json.loads(body)
        repo = f"{asked.get('organization') or 'tester'}/{asked['name']}"
        answer = {"url": f"{self.hub.address}/{repo}", "name": repo, "id": repo}
        if repo in self.hub.repos:
            return self._json(answer | {"error": "You already created this model repo"}, 409)
        self.hub.repos[repo] = {"main": {".gitattributes": b"*.safetensors filter=lfs\n"}}
        if asked.get("visibility") == "private" or asked.get("private"):
            self.hub.private.add(repo)
        return self._json(answer)

    def branch(self, body: bytes, repo: str, name: str) -> None:
        if name in self.hub.repos[repo]:
            return self._error(409, "", "Reference already exists")
        self.hub.repos[repo][name] = dict(self.hub.repos[repo]["main"])
        return self._json({})

    def info(self, body: bytes, repo: str, revision: str = "") -> None:
        files = self._files(repo, revision)
        if files is not None:
            siblings = [{"rfilename": name, "size": len(content)} for name, content in files.items()]
            facts = {"id": repo, "sha": self.hub.commit(files), "siblings": siblings, "tags": [], "downloads": 0}
            self._json(facts | {"private": repo in self.hub.private, "likes": 0, "disabled": False, "gated": False})

    def tree(self, body: bytes, repo: str, revision: str) -> None:
        files = self._files(repo, revision)
        if files is not None:
            self._json([{"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                        for name, content in files.items()])  # fmt: skip

    def validate(self, body: bytes) -> None:
        front = json.loads(body)["content"].split("---")
        bad = len(front) < 3 or "license:" not in front[1]
        self._json({"errors": [{"message": "license is missing"}] if bad else [], "warnings": []}, 400 if bad else 200)

    def preupload(self, body: bytes, repo: str, revision: str) -> None:
        def mode(path: str) -> str:
            return "lfs" if path.endswith((".safetensors", ".jpg")) else "regular"

        asked = [file["path"] for file in json.loads(body)["files"]]
        self._json({"files": [{"path": p, "uploadMode": mode(p), "shouldIgnore": False, "oid": None} for p in asked]})

    def batch(self, body: bytes, repo: str) -> None:
        objects = []
        for one in json.loads(body)["objects"]:
            actions = {kind: {"href": f"{self.hub.address}/lfs/{kind}/{one['oid']}"} for kind in ("upload", "verify")}
            objects.append(one | ({} if one["oid"] in self.hub.lfs else {"actions": actions}))
        self._json({"transfer": "basic", "objects": objects})

    def put(self, body: bytes, oid: str) -> None:
        if hashlib.sha256(body).hexdigest() != oid:
            return self._error(400, "", "another checksum")
        self.hub.lfs[oid] = body
        return self._send(b"")

    def verify(self, body: bytes, oid: str) -> None:
        self._json({}, 200 if oid in self.hub.lfs else 404)

    def add(self, body: bytes, repo: str, revision: str) -> None:
        files = dict(self.hub.repos[repo][revision])
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.hub.lfs[value["oid"]]
        self.hub.repos[repo][revision] = files
        commit = self.hub.commit(files)
        self._json({"commitUrl": f"{self.hub.address}/{repo}/commit/{commit}", "commitOid": commit})

    def resolve(self, body: bytes, repo: str, revision: str, name: str) -> None:
        files = self._files(repo, revision)
        if files is not None and name not in files:
            return self._error(404, "EntryNotFound", f"no {name}")
        if files is not None:
            etag = f'"{hashlib.sha256(files[name]).hexdigest()}"'
            self._send(files[name], ETag=etag, X_Repo_Commit=self.hub.commit(files))
        return None


_REPO = r"([\w.-]+/[\w.-]+)"
_ROUTES = (
    ("GET", "/api/whoami-v2", "whoami"),
    ("POST", "/api/repos/create", "create"),
    ("POST", "/api/validate-yaml", "validate"),
    ("GET", f"/api/models/{_REPO}", "info"),
    ("GET", f"/api/models/{_REPO}/revision/(.+)", "info"),
    ("GET", f"/api/models/{_REPO}/tree/(.+)", "tree"),
    ("POST", f"/api/models/{_REPO}/branch/(.+)", "branch"),
    ("POST", f"/api/models/{_REPO}/preupload/(.+)", "preupload"),
    ("POST", f"/api/models/{_REPO}/commit/(.+)", "add"),
    ("POST", rf"/{_REPO}\.git/info/lfs/objects/batch", "batch"),
    ("PUT", "/lfs/upload/([0-9a-f]+)", "put"),
    ("POST", "/lfs/verify/([0-9a-f]+)", "verify"),
    ("GET HEAD", f"/{_REPO}/resolve/([^/]+)/(.+)", "resolve"),
)
