"""How the embedded servers are configured: for many short transactions that must be durable, on a shared machine."""

from __future__ import annotations

from pathlib import Path

import psutil

MB = 1024 * 1024
SMALLEST_BUFFERS_MB = 64
LARGEST_BUFFERS_MB = 2_048
LOCKS_PER_TRANSACTION = 256
"""A batch of buyers takes an advisory lock for each limit that it counts, of a table which all transactions share."""
CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def postgres_configuration(
    *,
    socket_folder: Path,
    hba_file: Path,
    port: int,
    listen: bool,
    max_connections: int,
    memory_share: float,
    durable: bool,
) -> str:
    """The text of the embedded PostgreSQL's configuration file.

    `durable=False` is for tests only. Statements' parameters and rows are kept out of the log: they may be personal.
    """
    memory_mb = memory_bytes() // MB
    buffers_mb = int(min(max(memory_mb * memory_share, SMALLEST_BUFFERS_MB), LARGEST_BUFFERS_MB))
    safety = "on" if durable else "off"
    values: dict[str, str | int | float] = {
        "listen_addresses": "127.0.0.1" if listen else "",
        "port": port,
        "unix_socket_directories": str(socket_folder),
        "unix_socket_permissions": "0700",
        "hba_file": str(hba_file),
        "password_encryption": "scram-sha-256",
        "max_connections": max_connections,
        "max_locks_per_transaction": LOCKS_PER_TRANSACTION,
        "shared_buffers": f"{buffers_mb}MB",
        "effective_cache_size": f"{max(memory_mb // 2, buffers_mb)}MB",
        "work_mem": "8MB",
        "maintenance_work_mem": "128MB",
        "fsync": safety,
        "synchronous_commit": safety,
        "full_page_writes": safety,
        "wal_level": "replica",
        "wal_buffers": "16MB",
        "wal_init_zero": "off",  # at a sale's pace a segment is made each second, and filling it stops every commit
        "min_wal_size": "128MB",
        "max_wal_size": "4GB",  # a checkpoint in the middle of a sale doubles what each order writes
        "checkpoint_timeout": "15min",
        "checkpoint_completion_target": 0.9,
        "random_page_cost": 1.1,
        "jit": "off",
        "autovacuum_naptime": "15s",
        "autovacuum_vacuum_cost_delay": "10ms",  # at its usual pace one has a third of a core and more
        "autovacuum_vacuum_cost_limit": 50,
        "autovacuum_vacuum_scale_factor": 0.05,
        "autovacuum_vacuum_insert_scale_factor": 0.05,
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_line_prefix": "%m [%p] ",
        "log_error_verbosity": "terse",
        "log_parameter_max_length": 0,
        "log_parameter_max_length_on_error": 0,
        "log_checkpoints": "off",
    }
    lines = ["# Written at each start of Tidegate; changes are lost. ALTER SYSTEM is respected."]
    lines += [f"{name} = {_quoted(str(value))}" for name, value in values.items()]
    return "\n".join(lines) + "\n"


def postgres_access() -> str:
    """The text of pg_hba.conf: this machine only, and with the password on the socket too."""
    return "local all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\nhost all all ::1/128 scram-sha-256\n"


def valkey_configuration(*, port: int, password: str, folder: Path, max_memory_mb: int) -> str:
    """The text of the embedded Valkey's configuration.

    Nothing is written to disk: what is in it may be lost. When memory is full, only keys with a time to live (caches,
    counters) give way; the broker's queues have none and stay.
    """
    lines = [
        "bind 127.0.0.1",
        f"port {port}",
        "protected-mode yes",
        f"requirepass {password}",
        f"dir {_double_quoted(str(folder))}",
        "daemonize no",
        'logfile ""',
        "loglevel notice",
        'save ""',
        "appendonly no",
        f"maxmemory {max_memory_mb}mb",
        "maxmemory-policy volatile-lru",
        "tcp-keepalive 60",
        "timeout 0",
    ]
    return "\n".join(lines) + "\n"


def memory_bytes() -> int:
    """The machine's memory, or what its container may use if that is less."""
    total: int = psutil.virtual_memory().total
    for file in CGROUP_LIMITS:
        try:
            return min(total, int(file.read_text()))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return total


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def _double_quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
