"""What is sent to the database, for tests that bound it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from tidegate.platform.pipelines import PipelinedConnection


@contextmanager
def statements() -> Iterator[list[str]]:
    """What is sent to the database meanwhile, without its values."""
    seen: list[str] = []
    execute = psycopg.AsyncCursor.execute

    async def noted(self: Any, query: Any, *args: Any, **options: Any) -> Any:
        if query:  # the pool sees with an empty one whether a connection lives
            seen.append(" ".join(str(query).split()))
        return await execute(self, query, *args, **options)

    together = PipelinedConnection.execute

    async def noted_together(self: Any, query: Any, *args: Any, **options: Any) -> Any:
        answer = await together(self, query, *args, **options)
        if type(answer) is not psycopg.AsyncCursor:  # else it went through one, which has noted it
            seen.append(" ".join(str(query).split()))
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psycopg.AsyncCursor, "execute", noted)
        patch.setattr(PipelinedConnection, "execute", noted_together)
        yield seen
