"""The schema registry over HTTP, and its stand-in for simulations.

The API is the standard one (Confluent's, as Apicurio and Karapace speak it too). Rules:

- A 404 counts as "no such schema" only with the API's own error code. A wrong path or a proxy also answers 404, and
  believing it would send every record to the dead letters.
- Whatever is not an answer to the question is ``RegistryUnavailableError``: the caller waits and asks again. Nothing is
  tried twice in here.
- Ids never change their meaning, so a schema is fetched once. That an id is unknown is never remembered: the record
  may have arrived before the registry's replica knew it.
"""

import asyncio
import json
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from millrace.contracts.compatibility import explain_versions
from millrace.contracts.errors import (
    IncompatibleSchemaError,
    ProjectError,
    RegistryUnavailableError,
    UnknownSchemaError,
)
from millrace.contracts.schemas import JsonSchema, Level

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
NO_SUCH_SUBJECT = 40401
NO_SUCH_VERSION = 40402
NO_SUCH_SCHEMA = 40403
NO_SUCH_LEVEL = 40408


class SchemaRegistry:
    """A client of the Schema Registry API at ``url``; each call takes at most ``timeout_s`` seconds.

    Belongs to one event loop. Close it, or use it in ``async with``.
    """

    def __init__(self, url: str, timeout_s: float = 10.0) -> None:
        self._timeout_s = timeout_s
        self._client = httpx.AsyncClient(
            base_url=url.rstrip("/") + "/",
            timeout=timeout_s,
            headers={"Accept": f"{CONTENT_TYPE}, application/json", "Content-Type": CONTENT_TYPE},
            trust_env=False,  # only settings see the environment; a proxy must not stand before a local registry
        )
        self._name = str(self._client.base_url.copy_with(userinfo=b""))
        self._schemas: dict[int, JsonSchema] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def register(self, subject: str, schema: JsonSchema) -> int:
        """The id of this schema under this subject; registering it again gives the same id.

        Raises:
            IncompatibleSchemaError: older versions forbid it; the message names fields and the way out.
            ProjectError: the registry does not take it for a schema.
            RegistryUnavailableError: no answer.
        """
        status, body = await self._ask("POST", f"subjects/{_quoted(subject)}/versions", _as_body(schema))
        if status == httpx.codes.OK and isinstance(body.get("id"), int):
            return int(body["id"])
        if status == httpx.codes.CONFLICT:
            reasons = await self._reasons(subject, schema, [str(body.get("message", ""))])
            raise _incompatible(subject, await self.level(subject), reasons)
        if status == httpx.codes.UNPROCESSABLE_ENTITY:
            raise ProjectError(f"the schema registry does not accept the schema of {subject}: {body.get('message')}")
        raise self._unavailable(f"answered {status} to the registration of {subject}: {body}")

    async def schema_by_id(self, schema_id: int) -> JsonSchema:
        """The schema of this id, asked for once; not to be changed by the caller.

        Raises:
            UnknownSchemaError: the registry has no such id.
            RegistryUnavailableError: no answer.
        """
        known = self._schemas.get(schema_id)
        if known is not None:
            return known
        status, body = await self._ask("GET", f"schemas/ids/{schema_id}")
        if status == httpx.codes.NOT_FOUND and body.get("error_code") == NO_SUCH_SCHEMA:
            raise UnknownSchemaError(
                f"schema id {schema_id} is not in the schema registry at {self._name}; was the record produced "
                "against another registry?"
            )
        if status != httpx.codes.OK or "schema" not in body:
            raise self._unavailable(f"answered {status} to the question for schema id {schema_id}: {body}")
        return self._schemas.setdefault(schema_id, _from_body(body))

    async def set_compatibility(self, subject: str, level: Level) -> None:
        """What later versions of the subject must keep to; the subject need not exist yet."""
        status, body = await self._ask("PUT", f"config/{_quoted(subject)}", {"compatibility": level})
        if status != httpx.codes.OK:
            raise self._unavailable(f"answered {status} to the level {level} of {subject}: {body}")

    async def latest(self, subject: str) -> JsonSchema | None:
        """The newest version under this subject; None if it has none."""
        status, body = await self._ask("GET", f"subjects/{_quoted(subject)}/versions/latest")
        if status == httpx.codes.NOT_FOUND and body.get("error_code") in {NO_SUCH_SUBJECT, NO_SUCH_VERSION}:
            return None
        if status != httpx.codes.OK or "schema" not in body:
            raise self._unavailable(f"answered {status} to the question for the newest {subject}: {body}")
        return _from_body(body)

    async def check_compatibility(self, subject: str, schema: JsonSchema) -> list[str]:
        """Why the registry would refuse this schema; empty if it would take it. Changes nothing."""
        path = f"compatibility/subjects/{_quoted(subject)}/versions?verbose=true"
        status, body = await self._ask("POST", path, _as_body(schema))
        if status == httpx.codes.NOT_FOUND and body.get("error_code") in {NO_SUCH_SUBJECT, NO_SUCH_VERSION}:
            return []
        if status != httpx.codes.OK or not isinstance(body.get("is_compatible"), bool):
            raise self._unavailable(f"answered {status} to the check of {subject}: {body}")
        if body["is_compatible"]:
            return []
        return await self._reasons(subject, schema, [str(message) for message in body.get("messages") or ()])

    async def versions(self, subject: str) -> dict[int, JsonSchema]:
        """Every version under this subject by its number, oldest first; empty if it has none."""
        status, body = await self._ask("GET", f"subjects/{_quoted(subject)}/versions", wanted=list)
        if status == httpx.codes.NOT_FOUND and body.get("error_code") in {NO_SUCH_SUBJECT, NO_SUCH_VERSION}:
            return {}
        if status != httpx.codes.OK:
            raise self._unavailable(f"answered {status} to the question for the versions of {subject}: {body}")
        found = {}
        for number in sorted(int(number) for number in body):
            status, version = await self._ask("GET", f"subjects/{_quoted(subject)}/versions/{number}")
            if status != httpx.codes.OK or "schema" not in version:
                raise self._unavailable(f"answered {status} to the question for version {number} of {subject}")
            found[number] = _from_body(version)
        return found

    async def level(self, subject: str) -> str:
        """What later versions of the subject must keep to, the registry's own rule where the subject has none."""
        status, body = await self._ask("GET", f"config/{_quoted(subject)}?defaultToGlobal=true")
        if status == httpx.codes.NOT_FOUND and body.get("error_code") in {NO_SUCH_SUBJECT, NO_SUCH_LEVEL}:
            status, body = await self._ask("GET", "config")
        if status != httpx.codes.OK or not isinstance(body.get("compatibilityLevel"), str):
            raise self._unavailable(f"answered {status} to the question for the level of {subject}: {body}")
        return str(body["compatibilityLevel"])

    async def _reasons(self, subject: str, schema: JsonSchema, said: list[str]) -> list[str]:
        """Our words where they explain it, the registry's otherwise (Apicurio's check gives none)."""
        try:
            ours = explain_versions(schema, await self.versions(subject), await self.level(subject))
        except ProjectError as error:  # one of them is no schema of an event: nothing of ours to say
            ours = [f"not comparable: {error}"]
        return ours or [message for message in said if message] or ["the registry gives no reason"]

    async def _ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, wanted: type = dict
    ) -> tuple[int, Any]:
        """One request: its status and its JSON, an object unless it is what was ``wanted``. All else is no answer."""
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await self._client.request(method, path, content=None if body is None else json.dumps(body))
            answer = response.json()
        except (httpx.HTTPError, TimeoutError) as error:
            raise self._unavailable(f"does not answer {method} {path}: {error!r}") from error
        except ValueError as error:
            raise self._unavailable(f"answered {response.status_code} without JSON; is the path right?") from error
        if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR or not isinstance(
            answer, wanted if response.status_code == httpx.codes.OK else dict
        ):
            raise self._unavailable(f"answered {response.status_code} to {method} {path}: {answer}")
        return response.status_code, answer

    def _unavailable(self, what: str) -> RegistryUnavailableError:
        return RegistryUnavailableError(f"the schema registry at {self._name} {what}")


class LocalSchemas:
    """Ids without a registry, for one process on the memory bus: 1, 2, 3, … in the order of registration.

    Keeps the levels as a registry does, so that a simulation refuses what production would refuse.
    """

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._by_id: dict[int, JsonSchema] = {}
        self._versions: dict[str, list[int]] = {}
        self._levels: dict[str, Level] = {}

    async def register(self, subject: str, schema: JsonSchema) -> int:
        """See ``SchemaSource``."""
        text = json.dumps(schema, sort_keys=True)
        versions = self._versions.setdefault(subject, [])
        if self._ids.get(text) in versions:
            return self._ids[text]
        level = self._levels.get(subject, "NONE")
        olds = {number: self._by_id[each] for number, each in enumerate(versions, 1)}
        reasons = explain_versions(schema, olds, level)
        if reasons:
            raise _incompatible(subject, level, reasons)
        schema_id = self._ids.setdefault(text, len(self._ids) + 1)
        self._by_id[schema_id] = json.loads(text)
        versions.append(schema_id)
        return schema_id

    async def schema_by_id(self, schema_id: int) -> JsonSchema:
        """See ``SchemaSource``."""
        if schema_id not in self._by_id:
            raise UnknownSchemaError(f"schema id {schema_id} was never registered here; known: 1 to {len(self._by_id)}")
        return self._by_id[schema_id]

    async def set_compatibility(self, subject: str, level: Level) -> None:
        """See ``SchemaSource``."""
        self._levels[subject] = level


def _incompatible(subject: str, level: str, reasons: list[str]) -> IncompatibleSchemaError:
    return IncompatibleSchemaError(
        f"{subject} cannot take this schema, because its level is {level}: {'; '.join(reasons)}. Way out: keep the "
        "field as it was and add a new one with a default; if the meaning changed, give the stream a new name"
    )


def _as_body(schema: JsonSchema) -> dict[str, Any]:
    """``schemaType`` is left out: AVRO is the default, and the first registries did not know the word."""
    return {"schema": json.dumps(schema, ensure_ascii=False)}


def _from_body(body: dict[str, Any]) -> JsonSchema:
    """The schema in an answer. What is no dictionary (a bare type, Protobuf) becomes one that no reader accepts."""
    try:
        schema = json.loads(body["schema"])
    except (ValueError, TypeError):
        return {"type": str(body.get("schemaType", "unknown"))}
    return schema if isinstance(schema, dict) else {"type": schema}


def _quoted(subject: str) -> str:
    return quote(subject, safe="")
