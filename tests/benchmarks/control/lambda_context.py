"""What the handlers use of Lambda's context."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Context:
    """An invocation with time to spare."""

    function_name: str = "api"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:api"
    aws_request_id: str = "a-request"

    def get_remaining_time_in_millis(self) -> int:
        """Return what Lambda would."""
        return 10_000
