"""A connection whose statements cost little in pipeline mode.

psycopg sends each statement of a pipeline at once, asks the socket before, makes a cursor with adapters of its own, and
looks at the result's types: about 40 us of Python and a system call or two each, here and at the server. The two
batches of one purchase have thirty statements. Here a statement is prepared when it is first used, written into libpq's
buffer, and sent with its neighbours when somebody fetches, or when there is enough for the server to begin with.

Outside pipelines, and for `conn.cursor()`, nothing is different from psycopg's own connection.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final
from uuid import UUID

from psycopg import AsyncConnection, AsyncCursor, AsyncPipeline
from psycopg import errors as pg
from psycopg.abc import PQGen
from psycopg.abc import Transformer as AnyTransformer
from psycopg.adapt import Buffer, PyFormat, Transformer
from psycopg.generators import send
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGresult

from tidegate.platform.arrays import array_of

Row = tuple[Any, ...]

PREPARED_MAX: Final = 256
"""Most statements that a connection keeps prepared; others are planned each time."""

SEND_BYTES: Final = 8_192
"""How much is collected before it is sent without anybody waiting, so that the server works meanwhile."""

STATEMENT_BYTES: Final = 64
"""What a statement's frame adds to its parameters, about."""

PLACEHOLDER = re.compile(r"%([%sbt])")

FORMATS: Final = {"s": PyFormat.AUTO, "b": PyFormat.BINARY, "t": PyFormat.TEXT}

BINARY, TEXT = Format.BINARY, Format.TEXT
UUID_OID: Final = 2950
NULL: Final = b"NULL"
OK: Final = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)


class _Text:
    """A statement as it is written, and as the server takes it."""

    __slots__ = ("formats", "query")

    def __init__(self, written: str, *, with_parameters: bool) -> None:
        self.formats: list[PyFormat] = []
        self.query = (PLACEHOLDER.sub(self._number, written) if with_parameters else written).encode()

    def _number(self, found: re.Match[str]) -> str:
        if found[1] == "%":
            return "%"
        self.formats.append(FORMATS[found[1]])
        return f"${len(self.formats)}"


class _Prepared:
    """A statement with the types of its parameters; `name` is what the server knows it by, or is about to."""

    __slots__ = ("loads", "name", "transformer")

    def __init__(self, name: bytes, transformer: AnyTransformer) -> None:
        self.name = name
        self.transformer = transformer
        self.loads = False

    def rows(self, result: PGresult, start: int, end: int) -> list[Row]:
        """Rows of a result, loaded. The server does not change the types of what was prepared once."""
        self.transformer.set_pgresult(result, set_loaders=not self.loads)
        self.loads = True
        return self.transformer.load_rows(start, end, tuple)


Statements = dict[tuple[_Text, bool, tuple[int, ...]], _Prepared]
"""What a connection has prepared, by text, format of results and types of parameters."""


class _Preparation:
    """Stands in psycopg's queue of results for a statement that is being prepared."""

    __slots__ = ("_key", "_statements")

    def __init__(self, statements: Statements, key: tuple[_Text, bool, tuple[int, ...]]) -> None:
        self._statements = statements
        self._key = key

    def _check_results(self, results: Sequence[PGresult]) -> None:
        """A pipeline that was aborted has skipped it: the next one prepares it again, under another name."""
        try:
            _check(results)
        except pg.Error:
            self._statements.pop(self._key, None)
            raise

    def _set_results(self, results: Sequence[PGresult]) -> None:
        """Nothing comes with it."""


class _Answer(AsyncCursor[Row]):
    """What a statement of a pipeline brought: rows to fetch, `rowcount`, `statusmessage`, and nothing else."""

    __slots__ = ("_statement",)

    def __init__(self, conn: PipelinedConnection, statement: _Prepared) -> None:
        self._conn = conn
        self._statement = statement
        self._closed = False
        self._pos = 0
        self._rowcount = -1
        self._statusmessage = None
        self._execmany_returning = None
        self.pgresult = None

    def _check_results(self, results: Sequence[PGresult]) -> None:
        _check(results)

    def _set_results(self, results: Sequence[PGresult]) -> None:
        self.pgresult = result = results[0]
        self._statusmessage = result.command_status
        self._rowcount = -1 if result.command_tuples is None else result.command_tuples

    async def fetchone(self) -> Row | None:
        """The next row; waits for everything that was sent so far."""
        result = await self._result()
        if self._pos >= result.ntuples:
            return None
        self._pos += 1
        return self._statement.rows(result, self._pos - 1, self._pos)[0]

    async def fetchall(self) -> list[Row]:
        """The rows that are left; waits for everything that was sent so far."""
        result = await self._result()
        start, self._pos = self._pos, result.ntuples
        return self._statement.rows(result, start, self._pos)

    async def _result(self) -> PGresult:
        if self.pgresult is None:
            await self._fetch_pipeline()
        return self._check_result_for_fetch()


class PipelinedConnection(AsyncConnection[Row]):
    """See the module. Made like any connection of psycopg's, and used by one task at a time."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.prepare_threshold = None  # psycopg's own statements are few, and it would forget ours with them
        self._texts: dict[str, _Text] = {}
        self._statements: Statements = {}
        self._named = 0
        self._unsent = 0
        self._writer = Transformer(self)

    async def execute(
        self, query: Any, params: Any = None, *, prepare: bool | None = None, binary: bool = False
    ) -> AsyncCursor[Row]:
        """As psycopg's; in a pipeline it waits for nothing, and `prepare` is ignored."""
        pipeline = self._pipeline
        if pipeline is None or type(query) is not str or not (params is None or type(params) is tuple):
            return await super().execute(query, params, prepare=prepare, binary=binary)
        text = self._texts.get(query)
        if text is None:
            text = _Text(query, with_parameters=params is not None)
            if len(self._texts) < PREPARED_MAX:
                self._texts[query] = text
        if len(text.formats) != len(params or ()):
            raise pg.ProgrammingError(f"the query has {len(text.formats)} placeholders, not {len(params or ())}")
        values, types, formats = self._write(params or (), text.formats)
        statement = self._statement(text, binary, types)
        result_format = BINARY if binary else TEXT
        if statement is None:
            statement = _Prepared(b"", Transformer(self))
            self.pgconn.send_query_params(
                text.query, values, param_types=types, param_formats=formats, result_format=result_format
            )
        else:
            self.pgconn.send_query_prepared(statement.name, values, param_formats=formats, result_format=result_format)
        answer = _Answer(self, statement)
        pipeline.result_queue.append((answer, None))
        self._count(values)
        return answer

    @asynccontextmanager
    async def together(self) -> AsyncIterator[AsyncPipeline]:
        """A pipeline, like `pipeline()`, whose end waits once: for everything that was sent in it.

        Raises: the first error of a statement that nobody has heard of yet.
        """
        self._check_connection_ok()
        assert self._pipeline is None, "pipelines of this connection are not nested"
        pipeline = self._pipeline = AsyncPipeline(self)
        try:
            self.pgconn.enter_pipeline_mode()
            pipeline.level = 1  # psycopg's own pipelines may be opened inside
            yield pipeline
        except Exception:
            # What else fails now is a consequence, with the keys of rows in its words.
            with suppress(pg.Error, OSError):
                await self.wait(self._end(pipeline))
            raise
        else:
            await self.wait(self._end(pipeline))
        finally:
            self._unsent = 0
            self._pipeline = None
            self._leave_pipeline_mode()

    def _end(self, pipeline: AsyncPipeline) -> PQGen[None]:
        self.pgconn.pipeline_sync()
        pipeline.result_queue.append(None)
        yield from send(self.pgconn)
        yield from pipeline._fetch_gen(flush=False)
        if pipeline.result_queue:
            raise pg.OperationalError("the pipeline ended before all of it was answered")

    def _leave_pipeline_mode(self) -> None:
        """Connections that are not done with a pipeline are good for nothing else."""
        try:
            if not self.closed:
                self.pgconn.exit_pipeline_mode()
        except pg.OperationalError:
            self.pgconn.finish()

    async def rollback(self) -> None:
        """As psycopg's; afterwards nothing counts as prepared, whatever went wrong."""
        await super().rollback()
        if self._statements and not self.closed:
            self._statements.clear()
            await super().execute("DEALLOCATE ALL")

    def _statement(self, text: _Text, binary: bool, types: tuple[int, ...]) -> _Prepared | None:
        """The statement, prepared with the next ones that are sent; None when there are too many."""
        key = (text, binary, types)
        statement = self._statements.get(key)
        if statement is not None:
            return statement
        if len(self._statements) >= PREPARED_MAX:
            return None
        assert self._pipeline is not None
        self._named += 1
        statement = self._statements[key] = _Prepared(f"tidegate_{self._named}".encode(), Transformer(self))
        self.pgconn.send_prepare(statement.name, text.query, param_types=types)
        self._pipeline.result_queue.append((_Preparation(self._statements, key), None))  # type: ignore[arg-type]
        return statement

    def _write(
        self, params: Row, wanted: Sequence[PyFormat]
    ) -> tuple[list[Buffer | None], tuple[int, ...], list[Format]]:
        """Parameters as the server takes them, their types, and their formats."""
        values: list[Buffer | None] = []
        types: list[int] = []
        formats: list[Format] = []
        for param, format in zip(params, wanted, strict=True):
            kind = type(param)
            oid, value, how = 0, None, BINARY
            if kind is list and (array := array_of(param)) is not None:
                oid, value = array
            elif kind is list and param and param.count(None) == len(param):
                value, how = b"{" + b",".join([NULL] * len(param)) + b"}", TEXT
            elif kind is UUID:
                oid, value = UUID_OID, param.bytes
            elif param is not None:
                dumper = self._writer.get_dumper(param, format)
                oid, value, how = dumper.oid, dumper.dump(param), dumper.format
            values.append(value)
            types.append(oid)
            formats.append(how)
        return values, tuple(types), formats

    def _count(self, values: Sequence[Buffer | None]) -> None:
        self._unsent += STATEMENT_BYTES + sum(map(len, filter(None, values)))
        if self._unsent >= SEND_BYTES:
            self._unsent = 0
            self.pgconn.flush()


def _check(results: Sequence[PGresult]) -> None:
    """Raises: the server's error, PipelineAborted after one of an earlier statement."""
    for result in results:
        if result.status == ExecStatus.PIPELINE_ABORTED:
            raise pg.PipelineAborted("pipeline aborted")
        if result.status not in OK:
            raise pg.error_from_result(result)
