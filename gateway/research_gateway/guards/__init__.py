"""Limits on requests: concurrency, rate, size and duration."""

from research_gateway.guards.concurrency import ConcurrencyLimit
from research_gateway.guards.rate import RateLimit
from research_gateway.guards.size import SizeLimit
from research_gateway.guards.time_limit import TimeLimit

__all__ = ["ConcurrencyLimit", "RateLimit", "SizeLimit", "TimeLimit"]
