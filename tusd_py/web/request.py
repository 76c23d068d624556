"""A request to the tus resources, as its handlers see it."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.datastructures import Headers

from tusd_py.core.errors import Problem, UploadError
from tusd_py.web.body import RequestBody


@dataclass(frozen=True, slots=True)
class TusRequest:
    """What was asked for.

    `method` is the one to execute, `sent_method` the one on the wire. `upload_id` is empty for the creation resource;
    `base_url` is that of the creation resource as the client knows it, with the slash at its end.
    """

    method: str
    sent_method: str
    upload_id: str
    base_url: str
    headers: Headers
    body: RequestBody

    def header(self, name: str, problem: Problem) -> str | None:
        """The value of a header that may come once; `problem` is raised for a second one."""
        values = self.headers.getlist(name)
        if len(values) > 1:
            raise UploadError(problem)
        return values[0] if values else None

    def url_of(self, upload_id: str) -> str:
        return self.base_url + upload_id
