"""Overload control: a limit of requests in work that follows their latency, and who is refused first."""
