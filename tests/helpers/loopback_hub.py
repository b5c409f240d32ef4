"""A Hub in memory on 127.0.0.1: models, datasets and Spaces, as far as `huggingface_hub` asks.

    with LoopbackHub() as hub:
        env = {**os.environ, **hub.env(home)}   # before `huggingface_hub` is imported

It knows one token, which may write in the namespaces of `LoopbackHub.NAMESPACES`. Xet must be off
(`env` does that): large files go through the LFS protocol.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.helpers.loopback import Loopback, Request

_LFS_SUFFIXES = (".parquet", ".safetensors", ".bin", ".png", ".zip", ".arrow")
_LFS_SIZE = 10 * 2**20
_DATE = "2026-01-01T00:00:00.000Z"
_KINDS = ("models", "datasets", "spaces")


class HubError(Exception):
    """An answer that is not 2xx."""

    def __init__(self, status: int, code: str, message: str = "") -> None:
        super().__init__(message or code)
        self.status, self.code = status, code


@dataclass
class File:
    data: bytes
    lfs: bool

    @property
    def oid(self) -> str:
        name = "sha256" if self.lfs else "sha1"
        return hashlib.new(name, self.data).hexdigest()


@dataclass
class Commit:
    sha: str
    message: str
    files: dict[str, File]


@dataclass
class Repo:
    kind: str
    repo_id: str
    private: bool
    sdk: str | None = None
    commits: list[Commit] = field(default_factory=list)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    lfs: dict[str, str] = field(default_factory=dict)  # every object ever pushed -> its path

    def at(self, revision: str) -> Commit:
        sha = self.branches.get(revision) or self.tags.get(revision) or revision
        for commit in self.commits:
            if commit.sha == sha:
                return commit
        raise HubError(404, "RevisionNotFound", f"Invalid rev id: {revision}")


class _Handler(Request):
    # (method, pattern, name of the method that answers); `repo` routes get the repository first.
    _ID = r"(?P<repo_id>[^/]+/[^/]+)"
    _API = rf"/api/(?P<kind>models|datasets|spaces)/{_ID}"
    _FILE = rf"/(?:(?P<kind>datasets|spaces)/)?{_ID}"
    ROUTES = (
        ("GET", r"/api/whoami-v2", "whoami"),
        ("POST", r"/api/validate-yaml", "validate_yaml"),
        ("POST", r"/api/repos/create", "create"),
        ("DELETE", r"/api/repos/delete", "delete"),
        ("GET", _API + r"/refs", "refs"),
        ("POST", _API + r"/tag/(?P<revision>.+)", "add_tag"),
        ("DELETE", _API + r"/tag/(?P<tag>.+)", "remove_tag"),
        ("POST", _API + r"/branch/(?P<branch>.+)", "add_branch"),
        ("POST", _API + r"/preupload/(?P<revision>[^/]+)", "preupload"),
        ("POST", _API + r"/commit/(?P<revision>[^/]+)", "commit"),
        ("GET", _API + r"/commits/(?P<revision>[^/]+)", "commits"),
        ("POST", _API + r"/super-squash/(?P<revision>[^/]+)", "squash"),
        ("GET", _API + r"/lfs-files", "lfs_files"),
        ("POST", _API + r"/lfs-files/batch", "lfs_delete"),
        ("GET", _API + r"/tree/(?P<revision>[^/]+)(?:/(?P<path>.*))?", "tree"),
        ("POST", _API + r"/paths-info/(?P<revision>[^/]+)", "paths_info"),
        ("PUT", _API + r"/settings", "settings"),
        ("GET", _API + r"(?:/revision/(?P<revision>[^/]+))?", "info"),
        ("GET", _FILE + r"/resolve/(?P<revision>[^/]+)/(?P<path>.+)", "resolve"),
        ("POST", _FILE + r"\.git/info/lfs/objects/batch", "lfs_batch"),
        ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})", "lfs_upload"),
        ("POST", r"/lfs/(?P<oid>[0-9a-f]{64})/verify", "lfs_verify"),
    )

    @property
    def hub(self) -> LoopbackHub:
        assert isinstance(self.server.loopback, LoopbackHub)
        return self.server.loopback

    def respond(self) -> None:
        self.hub.requests.append(f"{self.command} {self.path}")
        body = self.body()
        url = urlsplit(self.path)
        self.query = parse_qs(url.query)
        method = "GET" if self.command == "HEAD" else self.command
        try:
            for verb, pattern, name in self.ROUTES:
                found = re.fullmatch(pattern, url.path)
                if verb == method and found:
                    groups = {k: v and unquote(v) for k, v in found.groupdict().items()}
                    with self.hub.lock:
                        self._call(name, groups, body)
                    return
            raise HubError(404, "NotFound", f"no route for {self.command} {url.path}")
        except HubError as error:
            self.send_json(
                {"error": str(error)},
                error.status,
                {"X-Error-Code": error.code, "X-Error-Message": str(error)},
            )

    def _call(self, name: str, groups: dict[str, str | None], body: bytes) -> None:
        if name in self.hub.failing:
            raise HubError(self.hub.failing[name], "Failing", "as the test asked for")
        if "repo_id" in groups:
            repo = self.hub.repo(groups.pop("kind") or "models", groups.pop("repo_id") or "")
            if repo.private and not self._is_user():
                raise HubError(401, "RepoNotFound", "Repository not found")
            if groups.get("revision", "") is None:
                groups["revision"] = "main"
            getattr(self, name)(repo, body, **groups)
        else:
            getattr(self, name)(body, **groups)

    def _is_user(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {self.hub.TOKEN}"

    def _must_write(self, repo_id: str) -> None:
        if not self._is_user():
            raise HubError(401, "Unauthorized", "Invalid username or password.")
        if repo_id.split("/")[0] not in self.hub.NAMESPACES:
            raise HubError(403, "Forbidden", f"You don't have the rights to write in {repo_id}")

    # --- accounts and repositories

    def whoami(self, body: bytes) -> None:
        if not self._is_user():
            raise HubError(401, "Unauthorized", "Invalid username or password.")
        orgs = [
            {"name": n, "roleInOrg": "admin"} for n in self.hub.NAMESPACES if n != self.hub.USER
        ]
        token = {"type": "access_token", "accessToken": {"displayName": "t", "role": "write"}}
        self.send_json({"type": "user", "name": self.hub.USER, "orgs": orgs, "auth": token})

    def validate_yaml(self, body: bytes) -> None:
        import yaml

        content = json.loads(body)["content"]
        found = re.match(r"\A---\r?\n(.*?)^---\r?$", content, re.DOTALL | re.MULTILINE)
        errors = []
        try:
            metadata = yaml.safe_load(found.group(1)) if found else None
            if not isinstance(metadata, dict):
                errors.append({"message": "no YAML metadata"})
        except yaml.YAMLError as error:
            errors.append({"message": str(error)})
        self.send_json({"errors": errors, "warnings": []}, 400 if errors else 200)

    def create(self, body: bytes) -> None:
        asked = json.loads(body)
        kind = (asked.get("type") or "model") + "s"
        namespace = asked.get("organization") or self.hub.USER
        repo_id = f"{namespace}/{asked['name']}"
        self._must_write(repo_id)
        web = f"{self.hub.url}/{'' if kind == 'models' else kind + '/'}{repo_id}"
        if (kind, repo_id) in self.hub.repos:
            self.send_json({"error": "You already created this repo", "url": web}, 409)
            return
        private = bool(asked.get("private") or asked.get("visibility") == "private")
        repo = Repo(kind, repo_id, private, asked.get("sdk"))
        first = Commit(self.hub.new_sha(), "initial commit", {})
        repo.commits.append(first)
        repo.branches["main"] = first.sha
        self.hub.repos[kind, repo_id] = repo
        self.send_json({"url": web, "name": repo_id, "id": repo_id})

    def delete(self, body: bytes) -> None:
        asked = json.loads(body)
        kind = (asked.get("type") or "model") + "s"
        repo_id = f"{asked.get('organization') or self.hub.USER}/{asked['name']}"
        self._must_write(repo_id)
        self.hub.repo(kind, repo_id)
        del self.hub.repos[kind, repo_id]
        self.send_json({})

    def settings(self, repo: Repo, body: bytes) -> None:
        self._must_write(repo.repo_id)
        asked = json.loads(body)
        repo.private = bool(asked.get("private", asked.get("visibility") == "private"))
        self.send_json({"private": repo.private})

    def info(self, repo: Repo, body: bytes, revision: str) -> None:
        commit = repo.at(revision)
        siblings = [
            {"rfilename": path, "size": len(file.data), "blobId": file.oid}
            for path, file in sorted(commit.files.items())
        ]
        answer: dict[str, Any] = {
            "_id": hashlib.sha1(repo.repo_id.encode()).hexdigest()[:24],
            "id": repo.repo_id,
            "author": repo.repo_id.split("/")[0],
            "sha": commit.sha,
            "private": repo.private,
            "disabled": False,
            "gated": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "lastModified": _DATE,
            "createdAt": _DATE,
            "siblings": siblings,
        }
        if repo.sdk:
            answer["sdk"] = repo.sdk
        self.send_json(answer)

    # --- revisions

    def refs(self, repo: Repo, body: bytes) -> None:
        def listed(names: dict[str, str], where: str) -> list[dict[str, str]]:
            return [
                {"name": n, "ref": f"refs/{where}/{n}", "targetCommit": s} for n, s in names.items()
            ]

        self.send_json(
            {
                "branches": listed(repo.branches, "heads"),
                "tags": listed(repo.tags, "tags"),
                "converts": [],
            }
        )

    def add_tag(self, repo: Repo, body: bytes, revision: str) -> None:
        self._must_write(repo.repo_id)
        tag = json.loads(body)["tag"]
        if tag in repo.tags:
            raise HubError(409, "Conflict", f"Tag {tag} exists")
        repo.tags[tag] = repo.at(revision).sha
        self.send_json({})

    def remove_tag(self, repo: Repo, body: bytes, tag: str) -> None:
        self._must_write(repo.repo_id)
        if repo.tags.pop(tag, None) is None:
            raise HubError(404, "RevisionNotFound", f"no tag {tag}")
        self.send_json({})

    def add_branch(self, repo: Repo, body: bytes, branch: str) -> None:
        self._must_write(repo.repo_id)
        if branch in repo.branches:
            raise HubError(409, "Conflict", f"Branch {branch} exists")
        asked = json.loads(body or b"{}")
        repo.branches[branch] = repo.at(asked.get("startingPoint") or "main").sha
        self.send_json({})

    # --- writing

    def preupload(self, repo: Repo, body: bytes, revision: str) -> None:
        self._must_write(repo.repo_id)
        commit = repo.at(revision)
        answers = []
        for asked in json.loads(body)["files"]:
            lfs = asked["path"].endswith(_LFS_SUFFIXES) or asked["size"] > _LFS_SIZE
            there = commit.files.get(asked["path"])
            answers.append(
                {
                    "path": asked["path"],
                    "uploadMode": "lfs" if lfs else "regular",
                    "shouldIgnore": False,
                    "oid": there.oid if there else None,
                }
            )
        self.send_json({"files": answers})

    def lfs_batch(self, repo: Repo, body: bytes) -> None:
        self._must_write(repo.repo_id)
        objects = []
        for asked in json.loads(body)["objects"]:
            answer = {"oid": asked["oid"], "size": asked["size"]}
            if asked["oid"] not in self.hub.blobs:
                href = f"{self.hub.url}/lfs/{asked['oid']}"
                answer["actions"] = {"upload": {"href": href}, "verify": {"href": href + "/verify"}}
            objects.append(answer)
        self.send_json({"transfer": "basic", "objects": objects})

    def lfs_upload(self, body: bytes, oid: str) -> None:
        if hashlib.sha256(body).hexdigest() != oid:
            raise HubError(400, "BadRequest", "content does not have the announced sha256")
        self.hub.blobs[oid] = body
        self.send_json({})

    def lfs_verify(self, body: bytes, oid: str) -> None:
        if oid not in self.hub.blobs:
            raise HubError(404, "EntryNotFound", f"no object {oid}")
        self.send_json({})

    def commit(self, repo: Repo, body: bytes, revision: str) -> None:
        self._must_write(repo.repo_id)
        if revision not in repo.branches:
            raise HubError(404, "RevisionNotFound", f"no branch {revision}")
        files = dict(repo.at(revision).files)
        message = ""
        for line in body.splitlines():
            if not line:
                continue
            operation = json.loads(line)
            key, value = operation["key"], operation["value"]
            if key == "header":
                message = value["summary"]
            elif key == "file":
                files[value["path"]] = File(base64.b64decode(value["content"]), lfs=False)
            elif key == "lfsFile":
                if value["oid"] not in self.hub.blobs:
                    raise HubError(400, "BadRequest", f"LFS object of {value['path']} is missing")
                files[value["path"]] = File(self.hub.blobs[value["oid"]], lfs=True)
                repo.lfs[value["oid"]] = value["path"]
            elif key == "deletedFile":
                if files.pop(value["path"], None) is None:
                    raise HubError(404, "EntryNotFound", f"no file {value['path']}")
            elif key == "deletedFolder":
                prefix = value["path"].rstrip("/") + "/"
                files = {p: f for p, f in files.items() if not p.startswith(prefix)}
            else:
                raise HubError(400, "BadRequest", f"operation {key} is not known here")
        new = Commit(self.hub.new_sha(), message, files)
        repo.commits.append(new)
        repo.branches[revision] = new.sha
        prefix = "" if repo.kind == "models" else repo.kind + "/"
        url = f"{self.hub.url}/{prefix}{repo.repo_id}/commit/{new.sha}"
        self.send_json({"success": True, "commitOid": new.sha, "commitUrl": url, "hookOutput": ""})

    def squash(self, repo: Repo, body: bytes, revision: str) -> None:
        self._must_write(repo.repo_id)
        squashed = Commit(
            self.hub.new_sha(), json.loads(body)["message"], dict(repo.at(revision).files)
        )
        tagged = set(repo.tags.values())
        repo.commits = [c for c in repo.commits if c.sha in tagged] + [squashed]
        repo.branches[revision] = squashed.sha
        self.send_json({})

    def lfs_delete(self, repo: Repo, body: bytes) -> None:
        self._must_write(repo.repo_id)
        for oid in json.loads(body)["deletions"]["sha"]:
            if repo.lfs.pop(oid, None) is None:
                raise HubError(404, "EntryNotFound", f"no object {oid}")
            self.hub.blobs.pop(oid, None)
        self.send_json({})

    # --- reading

    def commits(self, repo: Repo, body: bytes, revision: str) -> None:
        repo.at(revision)
        said = {"authors": [{"user": self.hub.USER}], "date": _DATE, "message": ""}
        newest_first = reversed(repo.commits)
        self.send_json([{"id": c.sha, "title": c.message, **said} for c in newest_first])

    def lfs_files(self, repo: Repo, body: bytes) -> None:
        self._must_write(repo.repo_id)
        listed = [
            {
                "fileOid": oid,
                "filename": path,
                "oid": oid,
                "pushedAt": _DATE,
                "size": len(self.hub.blobs[oid]),
            }
            for oid, path in repo.lfs.items()
        ]
        self.send_json(listed)

    @staticmethod
    def _entry(path: str, file: File) -> dict[str, Any]:
        entry: dict[str, Any] = {"type": "file", "path": path, "size": len(file.data)}
        entry["oid"] = hashlib.sha1(file.oid.encode()).hexdigest()
        if file.lfs:
            entry["lfs"] = {"oid": file.oid, "size": len(file.data), "pointerSize": 130}
        return entry

    @staticmethod
    def _folder(path: str) -> dict[str, Any]:
        oid = hashlib.sha1(path.encode()).hexdigest()
        return {"type": "directory", "path": path, "oid": oid, "size": 0}

    def tree(self, repo: Repo, body: bytes, revision: str, path: str | None) -> None:
        files = repo.at(revision).files
        prefix = path.rstrip("/") + "/" if path else ""
        below = {p: f for p, f in files.items() if p.startswith(prefix)}
        if prefix and not below:
            raise HubError(404, "EntryNotFound", f"no folder {path}")
        recursive = self.query.get("recursive", ["false"])[0].lower() in ("true", "1")
        folders: set[str] = set()
        entries = []
        for name, file in sorted(below.items()):
            inner = name[len(prefix) :].split("/")[:-1]
            parents = [prefix + "/".join(inner[: i + 1]) for i in range(len(inner))]
            folders.update(parents if recursive else parents[:1])
            if recursive or not inner:
                entries.append(self._entry(name, file))
        self.send_json([self._folder(name) for name in sorted(folders)] + entries)

    def paths_info(self, repo: Repo, body: bytes, revision: str) -> None:
        files = repo.at(revision).files
        if self.headers.get("Content-Type", "").startswith("application/json"):
            asked = json.loads(body)["paths"]
        else:
            asked = parse_qs(body.decode()).get("paths", [])
        entries = []
        for path in [asked] if isinstance(asked, str) else asked:
            if path in files:
                entries.append(self._entry(path, files[path]))
            elif any(p.startswith(path.rstrip("/") + "/") for p in files):
                entries.append(self._folder(path))
        self.send_json(entries)

    def resolve(self, repo: Repo, body: bytes, revision: str, path: str) -> None:
        commit = repo.at(revision)
        if path not in commit.files:
            raise HubError(404, "EntryNotFound", f"no file {path}")
        file = commit.files[path]
        headers = {
            "X-Repo-Commit": commit.sha,
            "ETag": f'"{file.oid}"',
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
        }
        if file.lfs:
            headers |= {"X-Linked-Etag": f'"{file.oid}"', "X-Linked-Size": str(len(file.data))}
        size = len(file.data)
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or "")
        if not asked or not any(asked.groups()):
            self.send(200, file.data, headers)
            return
        first, last = asked.groups()
        start = int(first) if first else max(0, size - int(last))
        stop = min(size, int(last) + 1) if first and last else size
        if start >= size:
            self.send(416, b"", {**headers, "Content-Range": f"bytes */{size}"})
            return
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        self.send(206, file.data[start:stop], headers)


class LoopbackHub(Loopback):
    """The server; a context manager. Its state is open to tests."""

    handler = _Handler
    path = ""
    TOKEN = "hf_loopback"
    USER = "tester"
    NAMESPACES = ("tester", "lab")

    def __init__(self) -> None:
        super().__init__()
        self.repos: dict[tuple[str, str], Repo] = {}
        self.blobs: dict[str, bytes] = {}
        self.failing: dict[str, int] = {}  # name of a route -> the status it answers
        self._shas = itertools.count(1)

    def env(self, home: Path, *, token: bool = True) -> dict[str, str]:
        """Return the environment of a process whose Hub this is; set before any import."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_UPDATE_DOWNLOAD_COUNTS": "0",
            "HF_HUB_OFFLINE": "0",
            **({"HF_TOKEN": self.TOKEN} if token else {}),
        }

    def files(
        self, repo_id: str, kind: str = "datasets", revision: str = "main"
    ) -> dict[str, bytes]:
        """Return the content of a repository."""
        commit = self.repos[kind, repo_id].at(revision)
        return {path: file.data for path, file in commit.files.items()}

    def new_sha(self) -> str:
        return hashlib.sha1(f"commit {next(self._shas)}".encode()).hexdigest()

    def repo(self, kind: str, repo_id: str) -> Repo:
        try:
            return self.repos[kind, repo_id]
        except KeyError:
            raise HubError(404, "RepoNotFound", f"{kind}/{repo_id} not found") from None
