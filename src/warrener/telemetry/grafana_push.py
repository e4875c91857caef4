"""Dashboards to a Grafana by its HTTP API: ``GET /api/health``, folders, dashboards.

First everything is looked at, then written: a dashboard that is there already and differs is only
replaced where that was asked for, and one such stops all of them before the first is written. One
that is there as it should be is left alone, so that pushing again makes no new versions.

The token goes into a header, and nowhere else; redirects aren't followed with it. The only I/O in
this room.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import aiohttp
import msgspec
from yarl import URL

from warrener.facts.happenings import Progress, ProgressSink

TIMEOUT: Final = 15.0
"""Seconds for one request. A Grafana with a slow database takes one or two to save a dashboard."""

MOST: Final = 8 * 1024 * 1024
"""Bytes of an answer that are read; the largest dashboards of others are some hundred kB."""

PAGE: Final = 1000
MOST_PAGES: Final = 20
"""Of folders; a thousand is what Grafana gives at most."""

OLDEST: Final = 10
"""The oldest version of Grafana that the SDK's types are for."""

_OWN: Final = ("id", "version")
"""What Grafana adds to a dashboard."""


class CannotPush(Exception):
    """Why, and what to do. ``written``: uids of dashboards that were written before that."""

    def __init__(self, message: str, written: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.written = written


class Action(StrEnum):
    """What is done about a dashboard or the folder."""

    CREATE = "create"
    UPDATE = "update"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Pushed:
    """One dashboard. ``url``: where it is to be seen, empty while it isn't there. ``version``:
    Grafana's number for it, 0: none yet."""

    uid: str
    title: str
    action: Action
    url: str = ""
    version: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """What was done, or would be (``dry``). ``grafana``: its version, empty where it hides it."""

    url: str
    grafana: str
    folder_uid: str
    folder_title: str
    folder: Action
    dashboards: tuple[Pushed, ...]
    dry: bool


@dataclass(frozen=True, slots=True)
class Wish:
    """``folder_uid``: what a folder gets that is made; one that is called ``folder`` already keeps
    its own. ``overwrite``: replace dashboards that differ."""

    dashboards: Mapping[str, Mapping[str, Any]]
    folder: str
    folder_uid: str
    message: str
    overwrite: bool = False
    dry: bool = False


class _Health(msgspec.Struct):
    database: str = ""
    version: str = ""


class _Folder(msgspec.Struct):
    uid: str
    title: str


class _Meta(msgspec.Struct):
    url: str = ""
    folderUid: str = ""  # Grafana's name
    provisioned: bool = False


class _Found(msgspec.Struct):
    dashboard: dict[str, Any]
    meta: _Meta


class _Saved(msgspec.Struct):
    uid: str
    url: str = ""
    version: int = 0


class _Refused(msgspec.Struct):
    message: str = ""
    status: str = ""


def _nobody(_: Progress) -> None:
    """Who doesn't want to know how far it is."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    where: str

    def as_(self, kind: type[Any]) -> Any:
        try:
            return msgspec.json.decode(self.body, type=kind)
        except msgspec.DecodeError:
            raise CannotPush(
                f"{self.where} doesn't answer as Grafana's HTTP API does. Is that a Grafana, and "
                f"is the URL whole (a path such as /grafana belongs to it)?"
            ) from None

    @property
    def said(self) -> str:
        """What Grafana says about a refusal."""
        try:
            found = msgspec.json.decode(self.body, type=_Refused)
        except msgspec.DecodeError:
            return ""
        return f": {found.message}" if found.message else ""


async def push(
    url: str,
    token: str,
    wish: Wish,
    *,
    verify: ssl.SSLContext | None = None,
    on_progress: ProgressSink = _nobody,
) -> Result:
    """Brings ``wish`` to the Grafana at ``url``. ``verify``: what its certificate is verified with;
    None: what this system trusts. CannotPush."""
    async with _connected(url, token, verify) as grafana:
        return await grafana.bring(wish, on_progress)


@asynccontextmanager
async def _connected(
    url: str, token: str, verify: ssl.SSLContext | None
) -> AsyncIterator["_Grafana"]:
    async with aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
        timeout=aiohttp.ClientTimeout(total=TIMEOUT),
        trust_env=False,
    ) as session:
        yield _Grafana(session, url.rstrip("/"), verify)


class _Grafana:
    def __init__(
        self, session: aiohttp.ClientSession, base: str, verify: ssl.SSLContext | None
    ) -> None:
        self._session = session
        self._base = base
        self._ssl: ssl.SSLContext | bool = verify if verify is not None else True

    async def bring(self, wish: Wish, tell: ProgressSink) -> Result:
        tell(Progress("Grafana", "looking at what is there"))
        version = await self._version()
        folder = await self._folder(wish.folder)
        there = {uid: await self._dashboard(uid) for uid in wish.dashboards}
        tell(Progress("Grafana", "looked at what is there", done=True))
        plan = [
            _planned(uid, wish.dashboards[uid], there[uid], folder, self._base) for uid in there
        ]
        if not wish.overwrite:
            _refuse_changes(plan, self._base)
        action = Action.KEEP
        if folder is None:
            action = Action.CREATE
            folder = _Folder(wish.folder_uid, wish.folder)
            if not wish.dry:
                folder = await self._make_folder(folder)
        if not wish.dry:
            plan = await self._write(plan, wish, folder, tell)
        return Result(
            url=self._base,
            grafana=version,
            folder_uid=folder.uid,
            folder_title=folder.title,
            folder=action,
            dashboards=tuple(plan),
            dry=wish.dry,
        )

    async def _version(self) -> str:
        answer = await self._ask("GET", "/api/health")
        if answer.status == 503:
            raise CannotPush(f"{self._base}: Grafana's database doesn't work{answer.said}")
        self._expect(answer, "Grafana's health")
        version: str = answer.as_(_Health).version
        major = version.partition(".")[0]
        if major.isdecimal() and int(major) < OLDEST:
            raise CannotPush(
                f"{self._base} is Grafana {version}; these dashboards are for {OLDEST} and newer"
            )
        return version

    async def _folder(self, title: str) -> _Folder | None:
        for page in range(1, MOST_PAGES + 1):
            answer = await self._ask("GET", f"/api/folders?limit={PAGE}&page={page}")
            self._expect(answer, "the list of folders", "folders:read")
            found: list[_Folder] = answer.as_(list[_Folder])
            for folder in found:
                if folder.title == title:
                    return folder
            if len(found) < PAGE:
                break
        return None

    async def _make_folder(self, folder: _Folder) -> _Folder:
        body = {"uid": folder.uid, "title": folder.title}
        answer = await self._ask("POST", "/api/folders", body)
        if answer.status in (409, 412):
            raise CannotPush(
                f"{self._base}: the folder {folder.title} (uid {folder.uid}) can't be made, there "
                f"is one with this uid or name that this token doesn't see{answer.said}. Choose "
                f"another with --folder"
            )
        self._expect(answer, f"making the folder {folder.title}", "folders:create")
        made: _Folder = answer.as_(_Folder)
        return made

    async def _dashboard(self, uid: str) -> _Found | None:
        answer = await self._ask("GET", f"/api/dashboards/uid/{uid}")
        if answer.status == 404:
            return None
        self._expect(answer, f"the dashboard {uid}", "dashboards:read")
        found: _Found = answer.as_(_Found)
        if found.meta.provisioned:
            raise CannotPush(
                f"{self._base}: the dashboard {uid} was provisioned from a file there. Change the "
                f"file (`warrener telemetry grafana --out`), or remove its provider first"
            )
        return found

    async def _write(
        self, plan: list[Pushed], wish: Wish, folder: _Folder, tell: ProgressSink
    ) -> list[Pushed]:
        done: list[Pushed] = []
        for one in plan:
            if one.action is Action.KEEP:
                done.append(one)
                continue
            written = tuple(each.uid for each in done if each.action is not Action.KEEP)
            tell(Progress(one.uid, "saving"))
            try:
                done.append(await self._save(one, wish, folder))
                tell(Progress(one.uid, "saved", done=True))
            except CannotPush as error:
                tell(Progress(one.uid, "not saved", failed=True))
                told = f" (written before that: {', '.join(written)})" if written else ""
                raise CannotPush(f"{error}{told}", written) from None
        return done

    async def _save(self, one: Pushed, wish: Wish, folder: _Folder) -> Pushed:
        body = {
            "dashboard": {**wish.dashboards[one.uid], "id": None},
            "folderUid": folder.uid,
            "message": wish.message,
            # What wasn't there when it was looked at isn't replaced unasked.
            "overwrite": wish.overwrite,
        }
        answer = await self._ask("POST", "/api/dashboards/db", body)
        if answer.status == 412:
            raise CannotPush(
                f"{self._base}: the dashboard {one.uid} was written by somebody else in the "
                f"meantime{answer.said}. Look at it, then push again, with --overwrite if yours "
                f"is to win"
            )
        self._expect(answer, f"saving the dashboard {one.uid}", "dashboards:write")
        saved: _Saved = answer.as_(_Saved)
        return Pushed(one.uid, one.title, one.action, _shown(self._base, saved.url), saved.version)

    def _expect(self, answer: _Answer, what: str, permission: str = "") -> None:
        """CannotPush unless the status is 200. ``permission``: Grafana's word for what it takes."""
        status = answer.status
        if status == 200:
            return
        if status == 401:
            raise CannotPush(
                f"{self._base} doesn't take this token (401){answer.said}. It has to be one of a "
                f"service account of that Grafana, and not run out"
            )
        if status == 403:
            lacking = f"; it takes {permission}, which the role Editor has" if permission else ""
            raise CannotPush(
                f"{self._base}: this token may not do {what} (403){answer.said}{lacking}"
            )
        if status == 404:
            raise CannotPush(
                f"{answer.where}: not found (404){answer.said}. Is that a Grafana, and is the URL "
                f"whole (a path such as /grafana belongs to it)?"
            )
        if 300 <= status < 400:
            raise CannotPush(
                f"{answer.where} leads elsewhere ({status}), and the token isn't sent there. Give "
                f"the address that Grafana itself has, https if it has that"
            )
        if status == 429:
            raise CannotPush(f"{self._base}: too many requests (429). Try again in a minute")
        if status >= 500:
            raise CannotPush(f"{self._base}: Grafana failed at {what} ({status}){answer.said}")
        raise CannotPush(f"{self._base}: {what} was refused ({status}){answer.said}")

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> _Answer:
        where = f"{self._base}{path.partition('?')[0]}"
        try:
            async with self._session.request(
                method,
                URL(f"{self._base}{path}"),
                json=body,
                ssl=self._ssl,
                allow_redirects=False,
            ) as response:
                content = await response.content.read(MOST + 1)
                while len(content) <= MOST and (more := await response.content.read(MOST)):
                    content += more
                if len(content) > MOST:
                    raise CannotPush(f"{where} answers with more than {MOST // 1024**2} MiB")
                return _Answer(response.status, content, where)
        except TimeoutError:
            raise CannotPush(f"{where}: no answer within {TIMEOUT:g} s") from None
        except aiohttp.ClientConnectorCertificateError as error:
            why = getattr(error.certificate_error, "verify_message", "") or error.certificate_error
            raise CannotPush(
                f"{self._base}: its certificate isn't trusted: {why}. If it is of an authority of "
                f"your own: --ca FILE"
            ) from None
        except aiohttp.ClientConnectorSSLError as error:
            raise CannotPush(
                f"{self._base}: no TLS: {error.os_error.strerror or error}. Is it http?"
            ) from None
        except aiohttp.ClientConnectorError as error:
            why = error.os_error.strerror or str(error.os_error)
            raise CannotPush(f"{self._base} can't be reached: {why}") from None
        except (aiohttp.ClientError, OSError) as error:
            raise CannotPush(f"{where}: {error or type(error).__name__}") from None


def _planned(
    uid: str, wanted: Mapping[str, Any], found: _Found | None, folder: _Folder | None, base: str
) -> Pushed:
    title = str(wanted["title"])
    if found is None:
        return Pushed(uid, title, Action.CREATE)
    same = _bare(found.dashboard) == _bare(wanted)
    in_place = folder is not None and found.meta.folderUid == folder.uid
    version = found.dashboard.get("version", 0)
    return Pushed(
        uid,
        title,
        Action.KEEP if same and in_place else Action.UPDATE,
        _shown(base, found.meta.url),
        version if isinstance(version, int) else 0,
    )


def _refuse_changes(plan: list[Pushed], base: str) -> None:
    differ = [one.uid for one in plan if one.action is Action.UPDATE]
    if differ:
        raise CannotPush(
            f"{base}: there already, and other than what would be pushed: {', '.join(differ)}. "
            f"An older Warrener wrote them, or somebody changed or moved them; --overwrite "
            f"replaces them (Grafana keeps the old versions). Nothing was written"
        )


def _bare(dashboard: Mapping[str, Any]) -> Any:
    """Without what Grafana adds; through JSON, so that both have the same types."""
    kept = {key: value for key, value in dashboard.items() if key not in _OWN}
    return json.loads(json.dumps(kept))


def _shown(base: str, path: str) -> str:
    """Grafana's ``url`` of a dashboard has the path that it is served under, if there is one."""
    if not path:
        return ""
    return str(URL(base).origin()) + (path if path.startswith("/") else f"/{path}")


def pushed(
    url: str,
    token: str,
    wish: Wish,
    *,
    verify: ssl.SSLContext | None = None,
    on_progress: ProgressSink = _nobody,
) -> Result:
    """``push`` for who has no event loop."""
    return asyncio.run(push(url, token, wish, verify=verify, on_progress=on_progress))
