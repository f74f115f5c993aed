"""Making a database that a test had like its template again: many times cheaper than a clone for each test.

A clone is a thousand files. A test fills a few tables; those are truncated, what the migrations had put in is put
back, and sequences start again. A database in which a test changed anything else is not mended but thrown away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

Connection = psycopg.Connection[Any]

SHAPE = """
SELECT concat(count(*), ' ', sum(hashtextextended(part, 0))) FROM (
    SELECT concat_ws(' ', 'class', oid, relname, relnamespace, relkind, relnatts, relchecks, relhastriggers, relowner,
        relrowsecurity, reloptions, relacl, relispartition) AS part FROM pg_class
    UNION ALL SELECT concat_ws(' ', 'column', attrelid, attnum, xmin, attname) FROM pg_attribute WHERE attrelid >= 16384
    UNION ALL SELECT concat_ws(' ', 'default', oid, xmin) FROM pg_attrdef
    UNION ALL SELECT concat_ws(' ', 'constraint', oid, xmin) FROM pg_constraint
    UNION ALL SELECT concat_ws(' ', 'index', indexrelid, indisvalid, indisready) FROM pg_index
    UNION ALL SELECT concat_ws(' ', 'trigger', oid, xmin) FROM pg_trigger
    UNION ALL SELECT concat_ws(' ', 'function', oid, xmin) FROM pg_proc WHERE oid >= 16384
    UNION ALL SELECT concat_ws(' ', 'type', oid, xmin) FROM pg_type WHERE oid >= 16384
    UNION ALL SELECT concat_ws(' ', 'rule', oid, xmin) FROM pg_rewrite WHERE oid >= 16384
    UNION ALL SELECT concat_ws(' ', 'schema', oid, xmin) FROM pg_namespace
    UNION ALL SELECT concat_ws(' ', 'extension', oid, xmin) FROM pg_extension
    UNION ALL SELECT concat_ws(' ', 'setting', setrole, setconfig) FROM pg_db_role_setting s
        JOIN pg_database d ON d.oid = s.setdatabase WHERE d.datname = current_database()
    UNION ALL SELECT concat_ws(' ', 'planner', starelid, staattnum, xmin) FROM pg_statistic WHERE starelid >= 16384
) AS parts
"""
"""Whatever is not rows: a change of the schema, a setting of the database, what the planner has learnt of tables."""

FILLED = """
SELECT oid::regclass::text FROM pg_class
WHERE relkind = 'r' AND oid >= 16384 AND pg_relation_size(oid) > 0 ORDER BY 1
"""
OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
SEQUENCES = "SELECT schemaname, sequencename FROM pg_sequences WHERE last_value IS NOT NULL"
SEND_AWAY = """
SELECT bool_and(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


@dataclass(frozen=True, slots=True)
class State:
    """A database as migrations leave it: its shape, and the rows of tables that are not empty, as COPY writes them."""

    shape: str
    rows: dict[str, bytes]


def learnt(url: str) -> bool:
    """Let the planner learn of the rows that migrations put in, when nobody else is there; False while somebody is.

    The server would do it by itself within a minute, and no database that is cloned later would be as this one was.
    """
    with psycopg.connect(url, autocommit=True) as conn:
        if conn.execute(OTHERS).fetchone() != (0,):  # what they did is counted when they leave
            return False
        for table in _filled(conn):
            conn.execute(sql.SQL("VACUUM (ANALYZE) {}").format(sql.SQL(table)))
    return True


def state_of(url: str) -> State:
    """What `made_as_new` goes back to."""
    with psycopg.connect(url) as conn:
        return State(_shape(conn), _rows(conn, _filled(conn)))


def made_as_new(url: str, state: State) -> bool:
    """Make the database what it was when `state` was taken; False when more than rows was changed in it."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(SEND_AWAY)
        if _shape(conn) != state.shape:
            return False
        filled = _filled(conn)
        if filled != list(state.rows) or _rows(conn, filled) != state.rows:
            with conn.transaction():
                conn.execute(sql.SQL("TRUNCATE {} CASCADE").format(sql.SQL(", ").join(map(sql.SQL, filled))))
                for _ in range(2):  # a trigger counts in one of them what is put back into another
                    _put_back(conn, state.rows)
        for schema, name in conn.execute(SEQUENCES).fetchall():
            conn.execute(sql.SQL("ALTER SEQUENCE {} RESTART").format(sql.Identifier(schema, name)))
        return _rows(conn, _filled(conn)) == state.rows


def _shape(conn: Connection) -> str:
    (shape,) = conn.execute(SHAPE).fetchone() or ("",)
    return str(shape)


def _filled(conn: Connection) -> list[str]:
    return [table for (table,) in conn.execute(FILLED)]


def _rows(conn: Connection, tables: list[str]) -> dict[str, bytes]:
    found = {}
    for table in tables:
        with conn.cursor() as cursor, cursor.copy(sql.SQL("COPY {} TO STDOUT").format(sql.SQL(table))) as copy:
            found[table] = b"".join(bytes(block) for block in copy)
    return found


def _put_back(conn: Connection, wanted: dict[str, bytes]) -> None:
    found = _rows(conn, list(wanted))
    for table, rows in wanted.items():
        if found[table] == rows:
            continue
        if found[table]:
            conn.execute(sql.SQL("DELETE FROM {}").format(sql.SQL(table)))
        with conn.cursor() as cursor, cursor.copy(sql.SQL("COPY {} FROM STDIN").format(sql.SQL(table))) as copy:
            copy.write(rows)
