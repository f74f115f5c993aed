"""Where uploaded pictures are developed: threads of their own, off the event loop, with a bounded number waiting."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import Counter, Gauge

from tidegate.catalog.contracts import PicturesBusy
from tidegate.platform.settings import PictureSettings
from tidegate.platform.texts import text as _

RUNNING = Gauge("tidegate_pictures_running", "Uploaded pictures being made fit to be shown.")
SHED = Counter("tidegate_pictures_shed", "Uploaded pictures that were not looked at since too many waited: 503.")


@dataclass(frozen=True, slots=True)
class Developed:
    """A picture as it is stored: `files` are WebP by their widths, `digest` the SHA-256 over them all."""

    digest: str
    width: int
    height: int
    files: dict[int, bytes]

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(map(len, self.files.values()))


class Darkroom:
    """Develops pictures: at most `workers` at once and `queue` waiting. Pillow works without Python's lock."""

    def __init__(self, limits: PictureSettings) -> None:
        self._max_pixels = limits.max_megapixels * 1_000_000
        self._threads = ThreadPoolExecutor(limits.workers, thread_name_prefix="pictures")
        self._free = threading.BoundedSemaphore(limits.workers + limits.queue)

    async def develop(self, uploaded: bytes) -> Developed:
        """The picture in an upload. Raises: UnusablePicture, PicturesBusy when too many wait already."""
        if not self._free.acquire(blocking=False):
            SHED.inc()
            raise PicturesBusy(_("Too many pictures are being worked on. Nothing was changed; try again in a moment."))
        try:
            pending = asyncio.get_running_loop().run_in_executor(self._threads, self._develop, uploaded)
        except BaseException:
            self._free.release()
            raise
        # Shielded: a caller who goes away does not take the place back before the thread is done with it.
        return await asyncio.shield(pending)

    def close(self) -> None:
        """Begin nothing more."""
        self._threads.shutdown(wait=False)

    def _develop(self, uploaded: bytes) -> Developed:
        from tidegate.catalog.imaging import develop  # slow to import, and most processes never see an upload

        try:
            with RUNNING.track_inprogress():
                return develop(uploaded, max_pixels=self._max_pixels)
        finally:
            self._free.release()


@contextmanager
def open_darkroom(limits: PictureSettings) -> Iterator[Darkroom]:
    """A darkroom for the length of a block."""
    darkroom = Darkroom(limits)
    try:
        yield darkroom
    finally:
        darkroom.close()
