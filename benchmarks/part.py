"""A checkout process as `tidegate up` starts it beside the site, with the way to pay of `benchmarks.site`."""

from __future__ import annotations

from benchmarks.site import InstantProvider
from tidegate.entrypoints.parts import CHECKOUT, serve
from tidegate.platform.settings import current_settings


def main() -> None:
    """Serve until SIGTERM, on the inherited socket."""
    serve(CHECKOUT, current_settings(), providers=(InstantProvider(),))


if __name__ == "__main__":
    main()
