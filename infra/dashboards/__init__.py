"""The CloudWatch dashboard that the stack brings with it."""
